import shutil

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Picture

from smi_hf import UsageError
from smi_hf.evaluation.accuracy import look_at
from smi_hf.evaluation.image_sets import load_image_set
from smi_hf.evaluation.metrics import Agreement, TopKAccuracy

NAMES = ["cat", "dog", "boat"]


@pytest.fixture
def saved(tmp_path):
    """Writes a set of plain pictures whose brightness is their number; returns its path."""

    def save(labels, feature, column="label"):
        pictures = [Picture.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)) for number in range(len(labels))]
        features = Features({"image": Image(), column: feature})
        path = tmp_path / "test.parquet"
        Dataset.from_dict({"image": pictures, column: labels}, features=features).to_parquet(path)
        return str(path)

    return save


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


def test_top_k_accuracy_and_agreement_need_no_hub():
    ranked = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]]
    figures = TopKAccuracy().compute(predictions=ranked, references=[0, 0, 0, 1], k=(1, 2, 3))
    assert figures == {"top1": 0.25, "top2": 0.5, "top3": 1.0}
    assert Agreement().compute(predictions=[0, 1, 2, 2], references=[0, 1, 1, 2]) == {"agreement": 0.75}


def test_every_model_sees_every_image_once_and_in_order(saved):
    images = load_image_set(saved([0, 1, 2, 0, 1], Value("int64")), NAMES)
    seen = []

    def processor(pictures, return_tensors):
        return {"pixel_values": np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in pictures])}

    def right(pixels):
        seen.extend(pixels[:, 0, 0, 0].tolist())
        return np.eye(3)[pixels[:, 0, 0, 0].astype(int) % 3]

    def wrong(pixels):
        return np.tile([0.0, 0.0, 1.0], (len(pixels), 1))

    choices = look_at(images, {"right": right, "wrong": wrong}, processor, batch_size=2, disable_tqdm=True)
    assert seen == [0, 1, 2, 3, 4]
    assert choices["right"].accuracy() == {"top1": 1.0, "top5": 1.0}
    assert choices["wrong"].accuracy()["top1"] == pytest.approx(1 / 5)
    assert choices["wrong"].agreement(choices["right"]) == pytest.approx(1 / 5)
