"""The real DeiT-Tiny: minutes on two cores, so marked slow; `make test-slow` runs it."""

import pytest
import torch

from smi_hf import SparseInversionConfig, SparseInversionTrainer, load_sparse_dataset, load_teacher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def deit_tiny(repository):
    folder = repository.parent / "shared" / "data" / "deit-tiny-imagenet1k"
    if not folder.is_dir():
        pytest.skip(f"the real checkpoint is not there: {folder.relative_to(repository.parent)}")
    # The rest of the suite runs on one thread a worker; this is alone.
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield load_teacher(str(folder))
    torch.set_num_threads(threads)


def test_the_teacher_sees_the_target_in_the_kept_patches_of_at_least_95_percent(deit_tiny, tmp_path):
    config = SparseInversionConfig(output_dir=str(tmp_path / "set"), num_images=32, num_steps=400, disable_tqdm=True)
    trainer = SparseInversionTrainer(deit_tiny, config)
    trainer.train()
    assert trainer.record.keep_counts == (196, 137, 95, 66, 46)
    assert trainer.record.results["target_top1"] >= 0.95
    sparse = load_sparse_dataset(tmp_path / "set", teacher=deit_tiny)
    batch = sparse.collate(list(sparse.dataset))
    with torch.no_grad():
        logits = deit_tiny.model(batch["pixel_values"], batch["kept_patches"]).logits
    assert (logits.argmax(dim=-1) == batch["labels"]).float().mean() >= 0.95
