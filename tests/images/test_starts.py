import pytest
import torch

from smi_hf import SparseInversionConfig, invert
from smi_hf.images.kept import sparse_images
from smi_hf.images.starts import open_start, start_images
from smi_hf.patches.randomness import image_generator
from smi_hf.starts.base import StartSpec


@pytest.mark.parametrize("name", ["noise", "pink", "dead_leaves", "fractal", "scenes", "dataset"])
def test_a_run_of_no_steps_writes_the_same_images(teacher, photographs, tmp_path, name):
    written = f"dataset={photographs}" if name == "dataset" else name
    config = SparseInversionConfig(
        str(tmp_path / "set"), num_images=5, num_steps=0, batch_size=2, seed=3, start=written, disable_tqdm=True
    )
    made = sparse_images(invert(teacher, config))
    images = start_images(StartSpec.parse(written), teacher, 5, seed=3)
    normalization = teacher.normalization
    assert torch.equal(normalization.to_uint8(made.pixels_BCHW), normalization.to_uint8(images.pixels_BCHW))
    assert torch.equal(made.kept_BK, images.kept_BK) and images.kept_BK.shape == (5, 16)
    assert made.source == images.source
    assert images.labels_B is None


def test_rows_are_named_in_plain_words(teacher, photographs):
    labels = [start_images(StartSpec.parse(text), teacher, 1).source for text in ("pink", f"dataset={photographs}")]
    assert labels == ["1/f noise", "pictures of a dataset (test.parquet)"]


def test_a_dataset_is_opened_once_and_begins_again_after_its_last_picture(teacher, photographs):
    start = open_start(StartSpec("dataset", str(photographs)), teacher)
    assert torch.equal(*(start.draw(image_generator(0, index), index) for index in (1, 21)))
    assert open_start(StartSpec("pink"), teacher).pictures is None
