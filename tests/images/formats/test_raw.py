"""Files of bare numbers and their list: read as QNN's and SNPE's tools do, with numpy.fromfile from the folder."""

from pathlib import Path

import numpy as np
import pytest


def read_as_qualcomm(folder, monkeypatch, dtype, shape):
    """{name of the input: image} of each line: paths are those of the folder that a tool is started in, and a file
    holds as many numbers as the input has."""
    monkeypatch.chdir(folder)
    read = []
    for line in Path("input_list.txt").read_text().splitlines():
        entries = [entry.rpartition(":=") for entry in line.split(" ")]
        read.append({name: np.fromfile(path, dtype).reshape(shape) for name, _, path in entries})
    return read


def test_each_line_of_the_list_is_a_file_of_one_image(export, monkeypatch):
    folder, expected = export("raw")
    read = read_as_qualcomm(folder, monkeypatch, "<f4", (32, 32, 3))
    assert [list(each) for each in read] == [[""]] * 6
    assert np.array_equal(np.stack([each[""] for each in read]), expected.permute(0, 2, 3, 1).numpy())


def test_a_line_names_the_input_where_it_is_given(export, monkeypatch):
    folder, expected = export("raw", input_name="pixel_values", layout="NCHW")
    read = read_as_qualcomm(folder, monkeypatch, "<f4", (3, 32, 32))
    assert np.array_equal(np.stack([each["pixel_values"] for each in read]), expected.numpy())


def test_8_bits_are_one_byte_a_number(export, in_8_bits, monkeypatch):
    folder, expected = export("raw", "tiled", values="uint8")
    read = read_as_qualcomm(folder, monkeypatch, np.uint8, (32, 32, 3))
    assert np.array_equal(np.stack([each[""] for each in read]), in_8_bits(expected))


@pytest.mark.parametrize("values", ["normalized", "uint8"])
def test_nothing_but_the_numbers_is_in_a_file(export, values):
    folder, _ = export("raw", values=values)
    sizes = {path.stat().st_size for path in (folder / "raw").iterdir()}
    assert sizes == {3 * 32 * 32 * (4 if values == "normalized" else 1)}
