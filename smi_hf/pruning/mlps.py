"""Where the MLPs of a Vision Transformer are, whatever its family and the version of transformers call them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from smi_hf.errors import UsageError
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_blocks


@dataclass(frozen=True)
class Mlp:
    """The MLP of a block, or of a pooling head.

    Args:
        block: module of the block, of which it is a part; of a pooling head the MLP itself.
        first, second: names of its two Linear layers in the model; the hidden units stand between them.
    """

    block: nn.Module
    first: str
    second: str

    def num_units(self, model: SparseClassifier) -> int:
        """Hidden units that it has."""
        return model.model.get_submodule(self.second).in_features


def find_mlps(model: SparseClassifier) -> list[Mlp]:
    """The MLP of every block, in the order of the forward pass: the last two Linear layers that a block calls.

    Raises:
        UsageError: the model has no list of blocks, or what a block calls last is no plain MLP, whose hidden units
            depend on the output of its first layer alone (those of a gated one do not).
    """
    blocks = find_blocks(model)
    names = {module: name for name, module in model.model.named_modules() if isinstance(module, nn.Linear)}
    called: list[nn.Linear] = []
    with _calls_noted([module for block in blocks for module in block.modules() if module in names], called):
        model(torch.zeros(1, model.num_channels, *model.grid.image_size))
    found = []
    for block in blocks:
        inside = set(block.modules())
        pair = [module for module in called if module in inside][-2:]
        if not (_has_shape_of_mlp(pair, model.shape.hidden_size) and _is_plain(model, *pair)):
            layers = ", ".join(f"{names[module]} ({module.in_features} to {module.out_features})" for module in pair)
            raise UsageError(
                f"the blocks of this {model.config.model_type!r} model do not end in an MLP of two Linear layers, but "
                f"in {layers or 'none'}; gated MLPs cannot be pruned"
            )
        found.append(Mlp(block, *(names[module] for module in pair)))
    return found


def find_mlps_beside(model: SparseClassifier) -> list[Mlp]:
    """MLPs outside of the blocks that must have as many hidden units as those of the blocks (a pooling head's)."""
    names = {module: name for name, module in model.model.named_modules() if isinstance(module, nn.Linear)}
    found = []
    for module in model.family.mlps_beside(model.model):
        first, second = (names[each] for each in module.modules() if each in names)
        found.append(Mlp(module, first, second))
    return found


def has_plain_mlps(model: SparseClassifier) -> bool:
    """Whether `find_mlps` finds them."""
    try:
        return bool(find_mlps(model))
    except UsageError:
        return False


@contextmanager
def _calls_noted(modules: list[nn.Linear], called: list[nn.Linear]) -> Iterator[None]:
    handles = [module.register_forward_hook(lambda module, *_: called.append(module)) for module in modules]
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()


def _has_shape_of_mlp(pair: list[nn.Linear], hidden_size: int) -> bool:
    return (
        len(pair) == 2
        and pair[0].in_features == pair[1].out_features == hidden_size
        and pair[0].out_features == pair[1].in_features
    )


@torch.no_grad()
def _is_plain(model: SparseClassifier, first: nn.Linear, second: nn.Linear) -> bool:
    """Whether what enters the second layer is the same for all tokens when what leaves the first one is."""
    # But for rounding: kernels compute the last units of a row otherwise than the first.
    is_same = []
    handles = [
        first.register_forward_hook(lambda module, inputs, output: torch.ones_like(output)),
        second.register_forward_pre_hook(
            lambda module, inputs: is_same.append(torch.allclose(inputs[0], inputs[0][0, 0, 0]))
        ),
    ]
    try:
        # Tokens differ by their positions.
        model(torch.zeros(1, model.num_channels, *model.grid.image_size))
    finally:
        for handle in handles:
            handle.remove()
    return all(is_same)
