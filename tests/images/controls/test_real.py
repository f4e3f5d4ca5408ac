import logging
import shutil

import pytest
import torch

from smi_hf import UsageError
from smi_hf.images.controls.base import CONTROLS
from smi_hf.images.controls.real import real_images
from smi_hf.images.real import load_image_set


def test_photographs_are_drawn_by_seed_without_repetition_and_shown_whole(inputs, photographs, teacher):
    first, second = CONTROLS.get("real").make(inputs(str(photographs), seeds=(1, 2)))
    images = load_image_set(str(photographs), teacher.label_names)
    again = real_images(images, teacher, 6, seed=1)
    assert torch.equal(first.pixels_BCHW, again.pixels_BCHW)
    assert torch.equal(first.labels_B, again.labels_B)
    assert not torch.equal(first.pixels_BCHW, second.pixels_BCHW)
    assert len(first.pixels_BCHW.unique(dim=0)) == 6
    assert first.kept_BK.tolist() == [list(range(16))] * 6


def test_two_datasets_are_told_apart_in_the_table(inputs, photographs, tmp_path):
    other = shutil.copy(photographs, tmp_path / "others.parquet")
    sources = [CONTROLS.get("real").make(inputs(str(path)))[0].source for path in (photographs, other)]
    assert sources == ["real images (test.parquet)", "real images (others.parquet)"]


def test_a_sparse_dataset_is_no_set_of_photographs(inputs, sparse_folder):
    with pytest.raises(UsageError, match="is a sparse dataset of synthetic images, but this control needs photo"):
        CONTROLS.get("real").make(inputs(str(sparse_folder)))


def test_too_few_photographs_are_refused(photographs, teacher):
    images = load_image_set(str(photographs), teacher.label_names)
    with pytest.raises(UsageError, match=r"21 real images are needed, but dataset test\.parquet has 20"):
        real_images(images, teacher, 21)


def test_photographs_that_judge_are_not_calibrated_on(inputs, photographs, teacher, caplog):
    images = load_image_set(str(photographs), teacher.label_names)
    with caplog.at_level(logging.WARNING, logger="smi_hf"):
        (made,) = CONTROLS.get("real").make(inputs(str(photographs), seeds=(1,), judged_on=images.select(range(14))))
    others = real_images(images.select(range(14, 20)), teacher, 6, seed=1)
    assert torch.equal(made.pixels_BCHW, others.pixels_BCHW)
    assert made.source == "real images (test.parquet)"
    assert not caplog.text


def test_where_all_photographs_judge_that_is_said(inputs, photographs, teacher, caplog):
    images = load_image_set(str(photographs), teacher.label_names)
    with caplog.at_level(logging.WARNING, logger="smi_hf"):
        (made,) = CONTROLS.get("real").make(inputs(str(photographs), seeds=(1,), judged_on=images))
    assert made.source == "real images (test.parquet), which judge as well"
    assert "20 of the 20 images of control real=test.parquet are among those that judge" in caplog.text
