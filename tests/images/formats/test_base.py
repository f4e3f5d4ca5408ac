"""What formats have in common: what they can hold, and how they are listed."""

import re

import numpy as np
import pytest

from smi_hf import UsageError
from smi_hf.images.formats.base import FORMATS, LAYOUTS, VALUES, FormatInputs, formats_help, register_format


@pytest.mark.parametrize("name", FORMATS.names())
def test_what_was_not_asked_for_is_the_formats_own_choice(name):
    entry = FORMATS.get(name)
    assert entry.kind(name, None, None) == entry.kinds[0]
    for values, layout in entry.kinds:
        assert values in VALUES and layout in LAYOUTS
        assert entry.kind(name, values, layout) == (values, layout)
        assert entry.kind(name, values, None)[0] == values
        assert entry.kind(name, None, layout)[1] == layout


@pytest.mark.parametrize(
    ("name", "values", "layout", "message"),
    [
        ("imagefolder", "normalized", None, "format 'imagefolder' cannot hold normalized; it holds uint8 NHWC"),
        ("imagefolder", None, "NCHW", "format 'imagefolder' cannot hold NCHW; it holds uint8 NHWC"),
        ("tfrecord", "uint8", "NCHW", "cannot hold uint8 NCHW; it holds uint8 NHWC, normalized NHWC, normalized NCHW"),
    ],
)
def test_what_a_format_cannot_hold_is_answered_with_what_it_can(name, values, layout, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        FORMATS.get(name).kind(name, values, layout)


def test_help_lists_every_format_with_what_it_holds():
    text = formats_help()
    for name in FORMATS.names():
        assert re.search(rf"^  {name} +\S.*\n +{' '.join(FORMATS.get(name).kinds[0])}", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("count", "number", "name"), [(6, 5, "000005.raw"), (10_000_000, 7, "0000007.raw")])
def test_names_of_files_sort_as_the_images(count, number, name):
    assert FormatInputs(iter([]), count, (1, 1, 3), "uint8", None, ["a"]).file_name(number, ".raw") == name


def test_a_format_of_ones_own_is_an_entry_like_the_others(monkeypatch, tmp_path, export):
    monkeypatch.setattr(FORMATS, "_entries", dict(FORMATS._entries))

    @register_format("sums", "the sum of each image", kinds=[("uint8", "NHWC")])
    def sums(inputs, folder):
        np.savetxt(folder / "sums.txt", [int(image.pixels.sum()) for image in inputs.images], fmt="%d")

    folder, _ = export("sums")
    assert len((folder / "sums.txt").read_text().splitlines()) == 6
