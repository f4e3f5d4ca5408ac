"""Narrower MLPs without training: hidden units go, and what is left is refitted in closed form.

Legend: `B` images, `K` kept patches, `T` tokens, `D` hidden size, `I` hidden units of an MLP.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from smi_hf.errors import UsageError
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import BlockInputs, first_block_inputs
from smi_hf.pruning.compensation import Moments, choose_inputs, refit
from smi_hf.pruning.config import RIDGE
from smi_hf.pruning.mlps import Mlp, find_mlps

_BATCH_SIZE = 16


def prune_mlps(
    model: SparseClassifier,
    images: KeptImages,
    *,
    keep: float = 0.5,
    ridge: float = RIDGE,
    disable_tqdm: bool = False,
) -> SparseClassifier:
    """A copy of a classifier whose MLPs have a part of their hidden units, and compute as nearly the same as they can.

    Block after block, for what enters it from the pruned blocks before: the units go that the others can best make up
    for (`choose_inputs`), and the second Linear layer becomes the ridge regression of the original one's output on the
    units that stay (`refit`). Both layers are smaller then. No step is random.

    Args:
        model: in float32 on the CPU; left as it is.
        images: calibration set, kept patches alone; labels are not looked at.
        keep: share of the hidden units that stay, in (0, 1], rounded to whole units, at least one.
        ridge: strength of the regression, as a share of the mean variance of the kept units.

    Returns:
        The copy, in evaluation mode. Its configuration has the new number of hidden units, so `save_pretrained` of
        its `model` writes a checkpoint that stock transformers reads; that of DINOv2 can say multiples of the hidden
        size alone, and is otherwise left as it was.

    Raises:
        UsageError: `keep` or `ridge` is out of range, or the model has no plain MLPs.
    """
    if not 0 < keep <= 1:
        raise UsageError(f"keep is {keep}, but the share of hidden units that stay is above 0 and at most 1")
    if not 0 <= ridge < float("inf"):
        raise UsageError(f"ridge is {ridge}, but must be 0 or more, and finite")
    pruned = SparseClassifier(copy.deepcopy(model.model).eval(), model.grid.image_size)
    mlps = find_mlps(pruned)
    with torch.no_grad():
        batches = list(first_block_inputs(pruned, images.batches(_BATCH_SIZE)))
        for mlp in tqdm(mlps, desc="Pruning", unit="block", disable=disable_tqdm):
            _cut(pruned.model, mlp, _moments(pruned.model, mlp, batches), keep, ridge)
            for batch in batches:
                batch.advance(mlp.block)
    _tell_configuration(pruned.config, mlps[0].num_units(pruned))
    return pruned


def _moments(model: nn.Module, mlp: Mlp, batches: list[BlockInputs]) -> Moments:
    """Moments of the hidden units of a block's MLP, behind the activation function."""
    second = model.get_submodule(mlp.second)
    moments = Moments.empty(second.in_features)
    handle = second.register_forward_pre_hook(lambda module, inputs: moments.add(inputs[0].flatten(0, -2)))
    try:
        for batch in batches:
            batch.through(mlp.block)
    finally:
        handle.remove()
    return moments


def _cut(model: nn.Module, mlp: Mlp, moments: Moments, keep: float, ridge: float) -> None:
    """Replaces the two layers of an MLP by smaller ones."""
    first, second = model.get_submodule(mlp.first), model.get_submodule(mlp.second)
    kept_K = choose_inputs(moments, second.weight, _num_kept(keep, second.in_features), ridge=ridge)
    bias_O = torch.zeros(second.out_features) if second.bias is None else second.bias
    weights_OK, bias_O = refit(moments, kept_K, second.weight, bias_O, ridge=ridge)
    first_bias_K = None if first.bias is None else first.bias[kept_K]
    model.set_submodule(mlp.first, _linear(first.weight[kept_K], first_bias_K))
    model.set_submodule(mlp.second, _linear(weights_OK, bias_O))


def _linear(weights_OI: Tensor, bias_O: Tensor | None) -> nn.Linear:
    """A Linear layer of these weights in float32, which requires no gradient."""
    num_outputs, num_inputs = weights_OI.shape
    layer = nn.Linear(num_inputs, num_outputs, bias=bias_O is not None, device="meta").to_empty(device="cpu")
    layer.weight.copy_(weights_OI)
    if bias_O is not None:
        layer.bias.copy_(bias_O)
    return layer.requires_grad_(False)


def check_stock_width(model: SparseClassifier, keep: float) -> None:
    """Checks that a configuration of the family can say how wide the MLPs would be: a stock checkpoint needs that.

    Raises:
        UsageError: it cannot; names the shares that it can.
    """
    config = model.config
    if hasattr(config, "intermediate_size"):
        return
    num_units = find_mlps(model)[0].num_units(model)
    if _num_kept(keep, num_units) % config.hidden_size:
        ratio = num_units // config.hidden_size
        shares = ", ".join(f"{part / ratio:g}" for part in range(1, ratio + 1))
        raise UsageError(
            f"MLPs of a {config.model_type!r} checkpoint are a whole multiple of its {config.hidden_size} hidden "
            f"dimensions wide, and {keep:g} of {num_units} units is none; keep_mlp can be {shares}"
        )


def _num_kept(keep: float, num_units: int) -> int:
    return max(1, round(keep * num_units))


def _tell_configuration(config: Any, num_units: int) -> None:
    """Writes the number of hidden units where the family has it, and can say it."""
    if hasattr(config, "intermediate_size"):
        config.intermediate_size = num_units
    elif num_units % config.hidden_size == 0:
        # transformers 5 takes a whole number alone.
        config.mlp_ratio = num_units // config.hidden_size
