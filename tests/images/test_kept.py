"""Images in memory with their kept patches."""

from dataclasses import replace

import pytest
import torch

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.images.kept import KeptImages, sparse_images


def test_sparse_images_are_the_datasets_and_their_kept_patches(kept_images, sparse_folder):
    dataset = load_sparse_dataset(sparse_folder).dataset
    assert len(kept_images) == 6
    assert kept_images.kept_BK.tolist() == dataset["kept_patches"][:]
    assert kept_images.labels_B.tolist() == dataset["label"][:]
    assert kept_images.source == "inverted, kept patches"


def test_asking_for_more_images_than_there_are_is_refused(sparse_folder):
    with pytest.raises(UsageError, match="num_images is 7, but the dataset has 6 images"):
        sparse_images(load_sparse_dataset(sparse_folder), 7)


def test_batches_and_parts_hold_every_image_once_and_in_order(kept_images):
    sizes = [len(pixels) for pixels, _ in kept_images.batches(4)]
    assert sizes == [4, 2]
    assert torch.equal(torch.cat([pixels for pixels, _ in kept_images.batches(4)]), kept_images.pixels_BCHW)
    part = kept_images.part(2, 5)
    assert torch.equal(part.kept_BK, kept_images.kept_BK[2:5])
    assert torch.equal(part.labels_B, kept_images.labels_B[2:5])


def test_images_without_labels_have_the_label_that_losses_leave_out(kept_images):
    assert replace(kept_images, labels_B=None).batch([0, 3])["labels"].tolist() == [-100, -100]
    assert kept_images.batch([0, 3])["labels"].tolist() == kept_images.labels_B[[0, 3]].tolist()


def test_filled_images_show_the_kept_patches_and_nothing_of_the_pruned_ones(kept_images, teacher):
    grid = teacher.model.grid
    loud = replace(
        kept_images,
        pixels_BCHW=grid.paste(grid.cut(kept_images.pixels_BCHW, kept_images.kept_BK), kept_images.kept_BK, fill=1e4),
    )
    (filled,) = loud.filled_images(grid)
    assert filled.max() < 1e4
    assert torch.equal(grid.cut(filled, loud.kept_BK), grid.cut(loud.pixels_BCHW, loud.kept_BK))


def test_a_set_with_a_nan_is_refused(kept_images):
    pixels = kept_images.pixels_BCHW.clone()
    pixels[2, 0, 5, 5] = float("nan")
    with pytest.raises(UsageError, match="holds values that are not finite"):
        replace(kept_images, pixels_BCHW=pixels)


@pytest.mark.parametrize(
    ("pixels", "kept", "labels", "message"),
    [
        ((2, 3, 8, 8), torch.zeros(3, 1, dtype=torch.int64), None, "of the same B are needed"),
        ((2, 3, 8, 8), torch.zeros(2, 0, dtype=torch.int64), None, "K at least 1"),
        ((2, 3, 8), torch.zeros(2, 1, dtype=torch.int64), None, r"has pixels of shape \(2, 3, 8\)"),
        ((2, 3, 8, 8), torch.zeros(2, dtype=torch.int64), None, r"kept patches of shape \(2,\)"),
        ((2, 3, 8, 8), torch.tensor([[0, 1], [1, 1]]), None, "each once per image"),
        ((2, 3, 8, 8), torch.tensor([[0, 1], [-1, 1]]), None, "numbers from 0"),
        ((2, 3, 8, 8), torch.tensor([[0.0], [1.0]]), None, "int64"),
        ((2, 3, 8, 8), torch.tensor([[0], [1]]), torch.zeros(3, dtype=torch.int64), "one label per image is needed"),
    ],
)
def test_a_set_whose_parts_do_not_agree_is_refused(pixels, kept, labels, message):
    with pytest.raises(UsageError, match=message):
        KeptImages(torch.zeros(pixels), kept, "made by hand", labels)
