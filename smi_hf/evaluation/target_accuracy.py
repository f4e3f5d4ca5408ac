"""Whether a model sees in synthetic images what they were made to show."""

from typing import TYPE_CHECKING

import torch

from smi_hf.data.reader import collate
from smi_hf.models import VisionClassifier
from smi_hf.patches import Normalization

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


@torch.no_grad()
def target_top1(
    model: VisionClassifier,
    dataset: "Dataset | IterableDataset",
    *,
    normalization: Normalization,
    batch_size: int = 32,
) -> float:
    """Share of images, in [0, 1], whose label is the model's first choice for the kept patches alone.

    Args:
        dataset: rows of a sparse dataset; images are decoded from their PNGs, a batch at a time.
        normalization: the model's.
    """
    correct = count = 0
    device = next(model.parameters()).device
    for columns in dataset.iter(batch_size=batch_size):
        rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
        batch = collate(rows, normalization)
        logits_BL = model(batch["pixel_values"].to(device), batch["kept_patches"].to(device)).logits
        correct += int((logits_BL.argmax(dim=-1).cpu() == batch["labels"]).sum())
        count += len(rows)
    return correct / count
