import pytest

from smi_hf import SparseInversionConfig, SparseInversionTrainer, UsageError
from smi_hf.hub import push_dataset


def test_a_folder_without_a_dataset_is_not_published(tmp_path):
    with pytest.raises(UsageError, match="is not a sparse dataset"):
        push_dataset(tmp_path, "me/set")


def test_an_unfinished_dataset_is_not_published(teacher, tmp_path):
    config = SparseInversionConfig(output_dir=str(tmp_path / "set"), num_images=2, num_steps=3, disable_tqdm=True)
    trainer = SparseInversionTrainer(teacher, config)
    trainer._writer.open()
    with pytest.raises(UsageError, match="is not complete"):
        trainer.push_to_hub("me/set")
