import pytest

from smi_hf import load_sparse_dataset
from smi_hf.evaluation.target_accuracy import target_top1


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_it_is_the_share_of_images_whose_label_the_model_chooses_from_the_kept_patches(
    teacher, sparse_folder, kept_images, batch_size
):
    dataset = load_sparse_dataset(sparse_folder)
    chosen = teacher.model(kept_images.pixels_BCHW, kept_images.kept_BK).logits.argmax(1)
    expected = (chosen == kept_images.labels_B).float().mean().item()
    found = target_top1(teacher.model, dataset.dataset, normalization=teacher.normalization, batch_size=batch_size)
    assert found == pytest.approx(expected)
    wrong = dataset.dataset.map(lambda row: {"label": (row["label"] + 1) % 5})
    assert target_top1(teacher.model, wrong, normalization=teacher.normalization) <= 1 - expected
