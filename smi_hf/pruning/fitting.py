"""Both layers of a pruned MLP fitted by gradient to what it should give: what no second layer alone can make up for.

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
_LEARNING_RATE = 2e-3
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
    first: nn.Linear,
    second: nn.Linear,
    activation: Callable[[Tensor], Tensor],
    inputs_nD: Tensor,
    wanted_nO: Tensor,
    scale_O: Tensor,
    *,
    num_epochs: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Fits two layers, in place, to the smallest squared error; leaves them as they are if that does not help.

    AdamW without decay under a cosine schedule, in batches of 512 tokens. The last twentieth of the tokens is held
    out, and says whether it helped.

    Args:
        inputs_nD, wanted_nO: what enters the first layer and should leave the second, float32.
        scale_O: by which an output counts.
        num_epochs: at least 1.
        seed: of the order of the tokens.

    Returns:
        The error on the held-out tokens, before and after, as a share of the variance of what is wanted.
    """
    cut = max(1, len(inputs_nD) - max(1, round(_HELD_OUT * len(inputs_nD))))
    taught, held_out = slice(0, cut), slice(min(cut, len(inputs_nD) - 1), None)
    weight_O = scale_O / (scale_O * wanted_nO.std(dim=0, correction=0)).square().mean().sqrt().clamp_min(1e-12)

    def error(part: slice | Tensor) -> Tensor:
        given_nO = second(activation(first(inputs_nD[part])))
        return ((given_nO - wanted_nO[part]) * weight_O).square().mean()

    layers = nn.ModuleList([first, second])
    before, was = float(error(held_out)), copy.deepcopy(layers.state_dict())
    with torch.enable_grad():
        layers.requires_grad_(True)
        optimizer = torch.optim.AdamW(layers.parameters(), lr=_LEARNING_RATE, weight_decay=0.0)
        generator = torch.Generator().manual_seed(seed)
        num_steps = num_epochs * -(-cut // _BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for _ in range(num_epochs):
            for batch in torch.randperm(len(inputs_nD[taught]), generator=generator).split(_BATCH_SIZE):
                optimizer.zero_grad()
                error(batch).backward()
                optimizer.step()
                schedule.step()
        layers.requires_grad_(False)
    after = float(error(held_out))
    if not after < before:
        layers.load_state_dict(was)
    return before, min(before, after)
