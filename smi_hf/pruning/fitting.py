"""Both layers of a pruned MLP fitted by gradient to what the whole one gives: the second layer alone cannot make up
for all that went.

Token by token, without attention and without the other blocks, so an epoch costs a small part of one of the model.

Legend: `n` tokens, `D` hidden size, `O` outputs of the MLP.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from smi_hf.errors import UsageError
from smi_hf.models import SparseClassifier
from smi_hf.pruning.mlps import Mlp

_BATCH_SIZE = 512
_LEARNING_RATE = 1e-3
# Tokens that the whole MLP is run for together.
_AT_A_TIME = 8192
# Of the tokens, the last: they tell whether the fit was worth it.
_HELD_OUT = 0.05


def activation_of(model: SparseClassifier, mlp: Mlp, inputs: Tensor, hidden: Tensor) -> Callable[[Tensor], Tensor]:
    """The function between the two layers of an MLP, that its configuration names.

    Args:
        inputs, hidden: what enters the first and the second layer, to check it by.

    Raises:
        UsageError: something else stands between them.
    """
    name = getattr(model.config, "hidden_act", None)
    function = ACT2FN[name] if name in ACT2FN else nn.Identity()
    if not torch.allclose(function(model.model.get_submodule(mlp.first)(inputs)), hidden, rtol=1e-3, atol=1e-4):
        raise UsageError(
            f"the MLPs of this {model.config.model_type!r} model have more between their layers than the activation "
            f"{name!r} that its configuration names, so they cannot be fitted; give num_epochs 0"
        )
    return function


def fit_mlp(
    small: tuple[nn.Linear, nn.Linear],
    whole: tuple[nn.Linear, nn.Linear],
    activation: Callable[[Tensor], Tensor],
    inputs_nD: Tensor,
    scale_O: Tensor,
    *,
    num_epochs: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Fits a small MLP, in place, to what a whole one gives; leaves it as it is if that does not help.

    AdamW without decay under a cosine schedule, in batches of 512 tokens. The last twentieth of the tokens is held
    out, and says whether it helped.

    Args:
        small, whole: the two layers of each.
        inputs_nD: what enters either, float32.
        scale_O: by which an output counts.
        num_epochs: at least 1.
        seed: of the order of the tokens.

    Returns:
        The error on the held-out tokens, before and after, as a share of the variance of what the whole MLP gives.
    """
    wanted_nO = torch.cat([whole[1](activation(whole[0](part))) for part in inputs_nD.split(_AT_A_TIME)])
    num_held_out = max(1, round(_HELD_OUT * len(inputs_nD)))
    num_taught = max(1, len(inputs_nD) - num_held_out)
    held_out = torch.arange(len(inputs_nD) - num_held_out, len(inputs_nD))
    weight_O = scale_O / (scale_O * wanted_nO.std(dim=0, correction=0)).square().mean().sqrt().clamp_min(1e-12)

    def error(part: Tensor) -> Tensor:
        given_nO = small[1](activation(small[0](inputs_nD[part])))
        return ((given_nO - wanted_nO[part]) * weight_O).square().mean()

    layers = nn.ModuleList(small)
    before, was = float(error(held_out)), copy.deepcopy(layers.state_dict())
    with torch.enable_grad():
        layers.requires_grad_(True)
        optimizer = torch.optim.AdamW(layers.parameters(), lr=_LEARNING_RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_epochs * -(-num_taught // _BATCH_SIZE))
        generator = torch.Generator().manual_seed(seed)
        for _ in range(num_epochs):
            for batch in torch.randperm(num_taught, generator=generator).split(_BATCH_SIZE):
                optimizer.zero_grad()
                error(batch).backward()
                optimizer.step()
                schedule.step()
        layers.requires_grad_(False)
    after = float(error(held_out))
    if not after < before:
        layers.load_state_dict(was)
    return before, min(before, after)
