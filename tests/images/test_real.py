import shutil

import pytest
from datasets import ClassLabel, Dataset, Value

from smi_hf import UsageError
from smi_hf.images.real import load_image_set

NAMES = ["cat", "dog", "boat"]


def test_labels_are_matched_by_name_where_both_have_them(saved):
    path = saved([0, 1, 2], ClassLabel(names=["Boat", "Cat", "Dog"]))
    assert load_image_set(path, NAMES).model_labels == {0: 2, 1: 0, 2: 1}


def test_label_numbers_without_names_are_taken_as_they_are(saved):
    images = load_image_set(saved([2, 0], Value("int64"), column="labels"), NAMES)
    assert images.model_labels is None
    assert images.label_column == "labels"


def test_labels_that_the_model_does_not_have_are_refused(saved):
    with pytest.raises(UsageError, match="has labels 0 to 3, but the model has labels 0 to 2"):
        load_image_set(saved([0, 3], Value("int64")), NAMES)


def test_a_subset_is_spread_over_the_whole_set(saved):
    images = load_image_set(saved(sorted([0, 1, 2] * 10), Value("int64")), NAMES, max_images=3)
    assert images.dataset["label"][:] == [0, 1, 2] or sorted(set(images.dataset["label"][:])) == [0, 2]
    assert len(images) == 3


def test_a_column_that_does_not_exist_is_answered_with_the_nearest(saved):
    with pytest.raises(UsageError, match=r"has no column 'lable' \(did you mean 'label'\?\)"):
        load_image_set(saved([0], Value("int64")), NAMES, label_column="lable")


def test_a_set_without_images_is_refused(tmp_path):
    path = tmp_path / "text.parquet"
    Dataset.from_dict({"text": ["a"], "label": [0]}).to_parquet(path)
    with pytest.raises(UsageError, match="has 0 image columns"):
        load_image_set(str(path), NAMES)


def test_a_set_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="dataset nowhere/at-all cannot be loaded"):
        load_image_set("nowhere/at-all", NAMES)


def test_a_split_is_named_beside_the_dataset_and_validation_comes_first(saved, tmp_path):
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        shutil.move(saved([0] * count, Value("int64")), folder / f"{split}-00000-of-00001.parquet")
    name = str(tmp_path / "set")
    assert len(load_image_set(name, NAMES)) == 2
    assert len(load_image_set(f"{name}:train", NAMES)) == 3
    assert len(load_image_set(name, NAMES, split="test")) == 1
    with pytest.raises(UsageError, match=r"has no split 'tests' \(did you mean 'test'\?\); it has"):
        load_image_set(name, NAMES, split="tests")
