import torch

from smi_hf.patches import Normalization
from smi_hf.starts.base import OpenStart, StartSpec


class Pictures(list):
    sha256 = "0" * 64


def test_pictures_come_in_order_and_again_from_the_first_whatever_the_seed(draw):
    pictures = Pictures(torch.full((3, 8, 8), number / 4) for number in range(3))
    drawn = [draw("dataset", index, seed=index, pictures=pictures) for index in range(7)]
    assert [float(pixels[0, 0, 0]) for pixels in drawn] == [0, 0.25, 0.5, 0, 0.25, 0.5, 0]


def test_pixels_that_no_image_file_can_hold_are_clamped_and_the_picture_stays_as_it_is(draw):
    pictures = Pictures([torch.full((3, 8, 8), 9.0)])
    pixels = draw("dataset", pictures=pictures, normalization=Normalization((0.5,) * 3, (0.25,) * 3))
    assert (pixels == 2).all() and (pictures[0] == 9).all()


def test_a_record_has_the_digest_of_the_pictures():
    start = OpenStart(StartSpec("dataset", "/a/photos"), (8, 8), Normalization((0,), (1,)), Pictures())
    assert start.settings() == {"start": "dataset=photos", "start_sha256": "0" * 64}
