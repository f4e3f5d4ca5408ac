"""Fewer layers: which of a Vision Transformer's blocks its answers can do without.

Legend: `B` images, `L` labels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smi_hf import progress
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_block_list
from smi_hf.models.depth import check_num_layers

_BATCH_SIZE = 16


def choose_layers(
    model: SparseClassifier, images: KeptImages, num_layers: int, *, disable_tqdm: bool = False
) -> tuple[int, ...]:
    """Numbers of the layers that stay: one after another, that goes without which the answers change least.

    How much they change is the mean Kullback-Leibler divergence from the whole model's. No step is random; of layers
    that cost the same, the first goes.

    Args:
        images: judged on, kept patches alone; labels are not looked at.
        num_layers: that stay, from 1 to those that there are.

    Returns:
        Numbers from 0, ascending.

    Raises:
        UsageError: there are not so many layers, or no list of them.
    """
    check_num_layers(model, num_layers)
    left = list(range(len(find_block_list(model))))
    wanted_BL = _answers(model, images)
    num_trials = sum(range(num_layers + 1, len(left) + 1))
    with progress.bar("Choosing layers", total=num_trials, unit="trial", disable=disable_tqdm) as bar:
        while len(left) > num_layers:
            costs = {}
            for layer in left:
                with _layers_alone(model, [each for each in left if each != layer]):
                    found_BL = _answers(model, images)
                costs[layer] = float(F.kl_div(found_BL, wanted_BL, reduction="batchmean", log_target=True))
                bar.update()
            left.remove(min(left, key=lambda layer: costs[layer]))
    return tuple(left)


@contextmanager
def _layers_alone(model: SparseClassifier, layers: Sequence[int]) -> Iterator[None]:
    """While it lasts, the model runs some of its layers and no other."""
    blocks = find_block_list(model)
    before = blocks._modules
    blocks._modules = {str(place): before[str(number)] for place, number in enumerate(layers)}
    try:
        yield
    finally:
        blocks._modules = before


@torch.no_grad()
def _answers(model: nn.Module, images: KeptImages) -> Tensor:
    """Log-probabilities (B, L), float64."""
    logits = [model(pixels_BCHW, kept_BK).logits for pixels_BCHW, kept_BK in images.batches(_BATCH_SIZE)]
    return torch.cat(logits).double().log_softmax(dim=1)
