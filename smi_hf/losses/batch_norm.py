"""Batch-norm statistics: a borrowed convolutional network should find an image as ordinary as a photograph.

Legend: `B` images, `C` channels.
"""

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, full_precision, register_loss


@register_loss("batch_norm", needs=("batch_statistics",), source="DeepInversion, arXiv 1912.08795, section 3.2")
def batch_norm(inputs: LossInputs) -> Tensor:
    """How far the channels of an image are from those of the images that the helper model learned from, (B,).

    The sum over its batch normalizations of the Euclidean distance of the means and that of the variances
    (DeepInversion, arXiv 1912.08795, section 3.2, R_feature).
    Differs from DeepInversion: means and variances over the pixels of one image, not over a batch, so that images do
    not depend on their neighbours; an image alone varies less than a batch, and the term never reaches 0. Pruned
    patches are in the mean color and count as they are, so the term means most under `--policy dense`. The first
    layer weighs as much as the others (`tests/losses/test_batch_norm.py`).
    """
    assert inputs.batch_statistics, "a helper model has at least one batch normalization"
    return sum(
        _distance(layer.mean_BC, layer.trained_mean_C) + _distance(layer.variance_BC, layer.trained_variance_C)
        for layer in inputs.batch_statistics
    )


def _distance(found_BC: Tensor, wanted_C: Tensor) -> Tensor:
    return torch.linalg.vector_norm(full_precision(found_BC) - full_precision(wanted_C), dim=1)
