import pytest

from smi_hf import UsageError
from smi_hf.images.controls.base import CONTROLS


def test_a_dense_inversion_is_shown_whole_and_named(inputs, dense_folder):
    (images,) = CONTROLS.get("dense").make(inputs(dense_folder))
    assert images.kept_BK.tolist() == [list(range(16))] * 6
    assert images.source == "inverted, dense (dense-set)"


@pytest.mark.parametrize("name", ["dense", "random"])
def test_a_sparse_set_is_no_dense_inversion(name, inputs, sparse_folder):
    with pytest.raises(UsageError, match=r"keeps \d+ of 16 patches, but this control needs one that keeps every"):
        CONTROLS.get(name).make(inputs(str(sparse_folder)))


@pytest.mark.parametrize("name", ["dense", "random"])
def test_a_set_that_is_too_small_is_refused(name, inputs, dense_folder, teacher, kept_images):
    from dataclasses import replace

    twice = replace(kept_images, pixels_BCHW=kept_images.pixels_BCHW.repeat(2, 1, 1, 1), labels_B=None,
                    kept_BK=kept_images.kept_BK.repeat(2, 1))  # fmt: skip
    with pytest.raises(UsageError, match="has 6 images, but this control needs 12, as many as the sparse dataset"):
        CONTROLS.get(name).make(replace(inputs(dense_folder), sparse=[twice]))


def test_a_dense_inversion_of_another_grid_is_refused(inputs, dense_folder, tiny_checkpoint, teacher):
    from dataclasses import replace

    from smi_hf import load_teacher

    larger = load_teacher(str(tiny_checkpoint), image_size=48)
    with pytest.raises(UsageError, match="but the model has"):
        CONTROLS.get("dense").make(replace(inputs(dense_folder), teacher=larger))


@pytest.mark.parametrize("name", ["dense", "random"])
def test_images_of_no_steps_are_no_dense_inversion(name, inputs, teacher, tmp_path):
    from smi_hf import SparseInversionConfig, invert

    invert(teacher, SparseInversionConfig(str(tmp_path / "set"), num_images=6, num_steps=0, disable_tqdm=True))
    with pytest.raises(UsageError, match="holds images of no steps, but this control needs a dense inversion"):
        CONTROLS.get(name).make(inputs(str(tmp_path / "set")))
