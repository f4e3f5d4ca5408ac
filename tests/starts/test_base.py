"""What every start must be, and how one is written."""

import subprocess
import sys

import pytest
import torch

from smi_hf.errors import UsageError
from smi_hf.inversion.state import TrajectoryState
from smi_hf.patches import Normalization, PatchGrid
from smi_hf.starts.base import STARTS, OpenStart, StartInputs, StartSpec, start_label

NAMES = [name for name in STARTS.names() if STARTS.get(name).argument is None]


def test_the_built_in_starts_are_these():
    assert STARTS.names() == ["dataset", "dead_leaves", "fractal", "noise", "pink", "scenes"]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_begins_the_same_whatever_the_batch_and_no_two_are_alike(name):
    grid, normalization = PatchGrid(32, 48, 8, 8), Normalization((0.5,) * 3, (0.5,) * 3)
    start = OpenStart(StartSpec(name), grid.image_size, normalization)

    def begin(indices, seed=5):
        return TrajectoryState.start(indices, [0] * len(indices), grid, seed=seed, draw_start=start.draw)

    alone, among = begin([7]), begin([3, 7, 9])
    assert torch.equal(alone.patches_BKCPQ[0], among.patches_BKCPQ[1])
    # Nor do its augmentations depend on the others.
    assert torch.equal(*(torch.rand(9, generator=each) for each in (alone.generators[0], among.generators[1])))
    images = [*among.patches_BKCPQ, *begin([7], seed=6).patches_BKCPQ]
    assert all(not torch.equal(one, other) for place, one in enumerate(images) for other in images[:place])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image_size", [(64, 64), (32, 96)])
def test_an_image_is_of_the_models_size_and_not_flat_and_an_image_file_can_hold_it(draw, name, image_size):
    for normalization in (
        Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Normalization((0.5,) * 3, (0.5,) * 3),
    ):
        pixels = draw(name, 3, image_size=image_size, normalization=normalization)
        assert pixels.shape == (3, *image_size) and pixels.dtype == torch.float32
        assert (pixels.std(dim=(1, 2)) > 0.1).all()
        low, high = normalization.bounds(pixels)
        is_in_range = bool(((pixels >= low) & (pixels <= high)).all())
        assert is_in_range == (name != "noise")


@pytest.mark.parametrize("name", STARTS.names())
def test_a_start_says_what_it_is_in_one_line(name):
    start = STARTS.get(name)
    assert 5 < len(start.label) < 30 and 20 < len(start.purpose) < 100
    assert "\n" not in start.purpose + start.sources
    assert start.sources or name == "dataset"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pinc", r"there is no start 'pinc' \(did you mean 'pink'\?\); available: dataset, dead_leaves"),
        ("", "there is no start ''"),
        ("dataset", "start 'dataset' must be written dataset=DATASET"),
        ("dataset=", "start 'dataset=' must be written dataset=DATASET"),
        ("pink=2", "start 'pink=2' must be written pink"),
        ("pink=", "start 'pink=' must be written pink"),
    ],
)
def test_what_is_no_start_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        StartSpec.parse(text)


def test_a_record_and_a_table_name_a_dataset_and_never_its_path(draw):
    spec = StartSpec.parse("dataset=/home/me/photos:train")
    assert (spec.key, spec.label) == ("dataset=photos:train", "pictures of a dataset (photos:train)")
    assert OpenStart(StartSpec("pink"), (8, 8), Normalization((0,), (1,))).settings() == {"start": "pink"}
    assert start_label("dataset=photos") == "pictures of a dataset (photos)"
    assert (start_label("pink"), start_label("of a newer smi_hf")) == ("1/f noise", "of a newer smi_hf")


def test_colors_outside_of_an_image_file_are_clamped():
    import numpy as np

    inputs = StartInputs(torch.Generator(), 0, (1, 3), Normalization((0.5, 0.5, 0.25), (0.5, 0.5, 0.25)))
    rgb = np.array([[[-1.0, 0.5, 2.0]]] * 3, dtype=np.float32)
    assert inputs.from_rgb(rgb).tolist() == [[[-1, 0, 1]], [[-1, 0, 1]], [[-1, 1, 3]]]


def test_help_lists_every_start_without_torch(repository, subprocess_environment):
    script = (
        "import sys\nfrom smi_hf.starts.base import StartSpec\nprint(StartSpec.help())\n"
        "print(sorted({'torch', 'PIL', 'datasets', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=subprocess_environment,
        cwd=repository,
    )  # fmt: skip
    *lines, loaded = run.stdout.splitlines()
    assert loaded == "[]"
    assert [line.partition("=")[0].split()[0] for line in lines] == STARTS.names()
