import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from smi_hf.demo import TEACHER_PATH
from smi_hf.demo.digits import CLASS_NAMES, SPLITS, _scans, digits_dataset, generate_digits
from smi_hf.environment import image_processor_options

MAX_CHECKPOINT_BYTES = 1_500_000


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_call_draws_the_same_images(split):
    first_images, first_labels = generate_digits(split, 8, seed=3)
    again_images, again_labels = generate_digits(split, 8, seed=3)
    np.testing.assert_array_equal(first_images, again_images)
    np.testing.assert_array_equal(first_labels, again_labels)


@pytest.mark.parametrize("split", SPLITS)
def test_an_image_does_not_depend_on_how_many_are_drawn(split):
    few_images, few_labels = generate_digits(split, 5)
    many_images, many_labels = generate_digits(split, 12)
    np.testing.assert_array_equal(few_images, many_images[:5])
    np.testing.assert_array_equal(few_labels, many_labels[:5])


def test_another_seed_or_split_draws_other_images():
    images, _ = generate_digits("train", 4, seed=0)
    other_seed, _ = generate_digits("train", 4, seed=1)
    other_split, _ = generate_digits("test", 4, seed=0)
    for index in range(4):
        assert not np.array_equal(images[index], other_seed[index])
        assert not np.array_equal(images[index], other_split[index])


def test_the_splits_share_no_handwritten_digit_and_together_hold_all():
    train_ink, train_labels = _scans("train")
    test_ink, test_labels = _scans("test")
    # Two scans with equal pixels would count as one digit here, so this also rules out a duplicate across the splits.
    assert {scan.tobytes() for scan in train_ink}.isdisjoint({scan.tobytes() for scan in test_ink})
    assert len(train_ink) + len(test_ink) == 1797
    assert set(train_labels) == set(test_labels) == set(range(10))


def test_images_are_rgb_bytes_and_labels_are_all_ten_digits():
    images, labels = generate_digits("train", 300)
    assert images.shape == (300, 64, 64, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (300,)
    assert labels.dtype == np.int64
    assert set(labels) == set(range(10))


def test_the_drawing_has_not_changed_since_the_teacher_was_trained():
    images, labels = generate_digits("test", 4)
    assert labels.tolist() == [0, 2, 3, 8]
    # A change of Pillow's rounding may move a byte by one; another drawing moves the means by far more than this.
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), [65.93, 76.67, 62.90, 69.86], atol=0.5)


@pytest.mark.parametrize("split", ["validation", "Train", ""])
def test_an_unknown_split_is_refused_and_the_message_names_the_accepted_ones(split):
    with pytest.raises(ValueError, match=rf"split is '{split}'.*\"train\" and \"test\""):
        generate_digits(split, 1)


def test_fewer_than_one_image_is_refused():
    with pytest.raises(ValueError, match="num_images is 0, but at least 1"):
        generate_digits("train", 0)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        generate_digits("train", 1, seed=-1)


def test_without_scikit_learn_the_error_holds_the_pip_command(monkeypatch):
    _scans.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "smi-hf\[demo\] @ git'):
        generate_digits("train", 1)


def test_the_dataset_holds_the_generated_images_without_loss():
    images, labels = generate_digits("test", 6, seed=2)
    dataset = digits_dataset("test", 6, seed=2)
    assert dataset.column_names == ["image", "label"]
    assert dataset.features["label"].names == list(CLASS_NAMES)
    assert dataset["label"][:] == labels.tolist()
    for row, image in zip(dataset, images):
        np.testing.assert_array_equal(np.asarray(row["image"]), image)


def test_the_embedded_teacher_recognises_held_out_digits():
    model = AutoModelForImageClassification.from_pretrained(TEACHER_PATH).eval()
    processor = AutoImageProcessor.from_pretrained(TEACHER_PATH, **image_processor_options())
    images, labels = generate_digits("test", 500)
    with torch.inference_mode():
        logits_BK = model(**processor(images=list(images), return_tensors="pt")).logits
    assert (logits_BK.argmax(dim=-1).numpy() == labels).mean() >= 0.95


def test_the_embedded_teacher_has_an_even_depth_and_names_its_classes():
    config = AutoModelForImageClassification.from_pretrained(TEACHER_PATH).config
    assert config.num_hidden_layers % 2 == 0
    assert [config.id2label[label] for label in range(10)] == list(CLASS_NAMES)


def test_the_embedded_checkpoint_is_small_and_holds_only_what_loading_needs():
    files = {path.name: path.stat().st_size for path in TEACHER_PATH.iterdir()}
    assert set(files) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert sum(files.values()) <= MAX_CHECKPOINT_BYTES


def test_the_path_of_the_teacher_costs_no_heavy_import():
    code = (
        "import sys, smi_hf.demo\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'sklearn', 'datasets', 'PIL'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
