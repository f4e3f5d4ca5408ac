"""What the MLP of a pruned block should give, so that the block gives what the whole model's does.

A block adds to its tokens what its MLP gives, each channel times a constant (LayerScale; 1 where there is none). So
for tokens that come from pruned blocks before, there is one output of the MLP with which the block's output is that of
the whole model: it makes up for what the blocks before, and the attention of this one, have lost.

Legend: `B` images, `T` tokens, `D` hidden size, `I` hidden units of an MLP.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smi_hf.errors import UsageError
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import BlockInputs
from smi_hf.pruning.mlps import Mlp

# Channels that reach the tokens by less are left to give what they gave.
_LEAST_SCALE = 1e-6
# What is added to find the constants by: float32 must see it beside the tokens.
_PROBE = 1024.0
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class MlpTokens:
    """What one batch gives an MLP, and what it should make of it.

    Args:
        inputs_BTD: of its first layer.
        hidden_BTI: of its second layer, behind the activation.
        given_BTD: by the MLP as it is.
        wanted_BTD: of the MLP.
    """

    inputs_BTD: Tensor
    hidden_BTI: Tensor
    given_BTD: Tensor
    wanted_BTD: Tensor


def output_scale(model: SparseClassifier, mlp: Mlp, batch: BlockInputs) -> Tensor:
    """The constant by which each channel of an MLP's output reaches the tokens, (D,).

    Raises:
        UsageError: the block does something else with it.
    """
    second = model.model.get_submodule(mlp.second)
    without, probed = (
        _through(batch, mlp, second, lambda output, value=value: torch.full_like(output, value))
        for value in (0, _PROBE)
    )
    scale_BTD = (probed - without) / _PROBE
    scale_D = scale_BTD.mean(dim=(0, 1))
    if (scale_BTD - scale_D).abs().max() > _TOLERANCE * scale_D.abs().max():
        raise UsageError(
            f"the blocks of this {model.config.model_type!r} model do not add the output of their MLP to the tokens, "
            f"so it cannot be pruned"
        )
    return scale_D


def mlp_tokens(
    model: SparseClassifier, mlp: Mlp, batch: BlockInputs, block_output_BTD: Tensor, scale_D: Tensor
) -> MlpTokens:
    """What a batch gives an MLP, and what the MLP should give for the block's output to be the one that is wanted.

    Args:
        batch: what enters the pruned block.
        block_output_BTD: what the whole model's block gives.
        scale_D: of `output_scale`.
    """
    first, second = (model.model.get_submodule(name) for name in (mlp.first, mlp.second))
    seen: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in (first, second)]
    try:
        without_BTD = _through(batch, mlp, second, torch.zeros_like)
    finally:
        for handle in handles:
            handle.remove()
    inputs_BTD, hidden_BTI = seen
    wanted_BTD = (block_output_BTD - without_BTD) / scale_D
    is_felt_D = scale_D.abs() > _LEAST_SCALE
    given_BTD = second(hidden_BTI)
    return MlpTokens(inputs_BTD, hidden_BTI, given_BTD, torch.where(is_felt_D, wanted_BTD, given_BTD))


def _through(batch: BlockInputs, mlp: Mlp, second: nn.Module, instead: Callable[[Tensor], Tensor]) -> Tensor:
    """The block's output with something else in place of its MLP's."""
    handle = second.register_forward_hook(lambda module, inputs, output: instead(output))
    try:
        return batch.through(mlp.block)
    finally:
        handle.remove()
