"""PNGs and their lists: read by PIL, by `datasets`, and as torchvision and RKNN read them."""

import os
from dataclasses import replace

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from smi_hf import ExportConfig, export_images


@pytest.fixture
def loaded(export, in_8_bits, tmp_path):
    """An exported folder, what is expected in it, and the folder as `datasets` loads it."""

    def run(shape):
        folder, expected = export("imagefolder", shape)
        rows = load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        return folder, in_8_bits(expected), rows

    return run


def test_datasets_loads_images_and_the_teachers_labels(loaded, dataset):
    _, expected, rows = loaded("filled")
    assert np.array_equal(np.stack([np.asarray(image) for image in rows["image"]]), expected)
    labels = dataset.dataset["label"][:]
    assert rows["label"][:] == list(labels)
    assert rows["label_name"][:] == [dataset.record.label_names[label] for label in labels]


def test_a_tile_of_several_labels_has_none(loaded, dataset):
    folder, expected, rows = loaded("tiled")
    assert np.array_equal(np.stack([np.asarray(image) for image in rows["image"]]), expected)
    labels = list(dataset.dataset["label"][:])
    size = len(labels) // len(expected)
    tiles = [labels[start : start + size] for start in range(0, len(labels), size)]
    shared = [tile[0] if len(set(tile)) == 1 else None for tile in tiles]
    assert None in shared, "the test needs a tile of several labels"
    assert rows["label"][:] == shared
    assert (folder / "images" / "unlabeled").is_dir()


def test_torchvision_would_find_a_folder_for_each_label_and_images_in_it(loaded):
    folder, expected, _ = loaded("filled")
    # As ImageFolder walks: every entry of its root is a class, and every file below one an image.
    classes = sorted(entry.name for entry in os.scandir(folder / "images"))
    assert all((folder / "images" / name).is_dir() and name.isdigit() for name in classes)
    files = [path for name in classes for path in sorted((folder / "images" / name).iterdir())]
    assert len(files) == len(expected) and {path.suffix for path in files} == {".png"}


def test_rknn_would_read_the_images_of_its_list_in_order(loaded):
    folder, expected, _ = loaded("filled")
    paths = (folder / "dataset.txt").read_text().splitlines()
    read = []
    for path in paths:
        with Image.open(folder / path) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            read.append(np.asarray(image))
    assert np.array_equal(np.stack(read), expected)


def test_folders_of_many_labels_sort_as_numbers_do(dataset, tmp_path):
    # Names of labels hold slashes and commas; nothing of them is in a path.
    names = [f"a/b, {number}" for number in range(1000)]
    many = replace(dataset, record=replace(dataset.record, label_names=names))
    export_images(many, tmp_path / "x", ExportConfig("imagefolder", "filled", disable_tqdm=True))
    folders = {path.name for path in (tmp_path / "x" / "images").iterdir()}
    assert folders == {f"{label:03d}" for label in dataset.dataset["label"]}
