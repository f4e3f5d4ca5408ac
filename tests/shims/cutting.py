"""A small pruning for processes that tests start; see `inverting.py`."""

import torch

from smi_hf import PruningConfig, load_sparse_dataset, load_teacher, prune


def make(checkpoint: str, dataset: str, folder: str) -> None:
    """Prunes a checkpoint into `folder/pruned`."""
    torch.set_num_threads(1)
    teacher = load_teacher(checkpoint)
    config = PruningConfig(output_dir=f"{folder}/pruned", disable_tqdm=True)
    prune(teacher, load_sparse_dataset(dataset, teacher=teacher), config)
