"""Random streams: the same for the same numbers, and nobody else's business."""

import itertools

import torch

from smi_hf.patches.randomness import image_generator


def draw(*numbers: int) -> list[float]:
    return torch.rand(4, generator=image_generator(*numbers)).tolist()


def test_a_stream_depends_on_its_numbers_alone():
    expected = draw(0, 3, 1)
    draw(0, 3)
    torch.manual_seed(99)
    assert draw(0, 3, 1) == expected


def test_every_seed_image_and_use_has_a_stream_of_its_own():
    # Numbers in another order, and sums that are alike, are other streams.
    numbers = [(5,), *itertools.product(range(6), repeat=2), *itertools.product(range(4), repeat=3), (2**63 - 1, 0)]
    # SeedSequence fills up with zeros: (5,), (5, 0) and (5, 0, 0) would be one stream, so ends in 0 are left out.
    numbers = [each for each in numbers if len(each) == 1 or each[-1] != 0]
    assert len({tuple(draw(*each)) for each in numbers}) == len(numbers)


def test_pytorchs_own_stream_is_left_alone():
    before = torch.get_rng_state()
    draw(0, 1)
    assert torch.equal(torch.get_rng_state(), before)
