"""The blocks of a Vision Transformer one by one: what enters a block is kept, and none before it is run again.

For what is done block after block, each time for what the blocks before it now give.

Legend: `B` images, `K` kept patches, `T` tokens, `D` hidden size.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from smi_hf.errors import UsageError
from smi_hf.models.dense import require_sparse
from smi_hf.models.sparse import SparseClassifier


def find_blocks(model: SparseClassifier) -> list[nn.Module]:
    """The blocks, in the order of the forward pass.

    Raises:
        UsageError: as of `find_block_list`.
    """
    return list(find_block_list(model))


def find_block_list(model: SparseClassifier) -> nn.ModuleList:
    """The module that holds the blocks, in the order of the forward pass.

    Raises:
        UsageError: single patches cannot be shown to the model, or it has no list of as many modules as its
            configuration has layers.
    """
    require_sparse(model, "to look at blocks one by one")
    num_blocks = model.shape.num_layers
    lists = [
        each
        for each in model.backbone.modules()
        if isinstance(each, nn.ModuleList | nn.Sequential) and len(each) == num_blocks
    ]
    if not lists:
        raise UsageError(
            f"no list of {num_blocks} blocks was found in this {model.config.model_type!r} model, so they cannot be "
            f"run one by one"
        )
    return lists[0]


@dataclass
class BlockInputs:
    """What enters a block, for some images.

    Args:
        hidden_BTD: tokens.
        others: the block's other positional arguments.
        named: its arguments by name; like the others, the same for all blocks.
        context: in which blocks run, as what they know of positions is that of these images.
        kept_BK: places of the patches among the tokens.
    """

    hidden_BTD: Tensor
    others: tuple[Any, ...]
    named: dict[str, Any]
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    kept_BK: Tensor | None = None

    def within(self, model: SparseClassifier) -> "BlockInputs":
        """The same for the blocks of a model of the same kind."""
        return replace(self, context=partial(model.positions_of, self.kept_BK))

    @torch.no_grad()
    def through(self, block: nn.Module) -> Tensor:
        """What the block makes of the tokens, (B, T, D)."""
        with self.context():
            output = block(self.hidden_BTD, *self.others, **self.named)
        # transformers 4 returns a tuple.
        return output[0] if isinstance(output, tuple) else output

    def advance(self, block: nn.Module) -> None:
        """Makes these the inputs of the block after that one."""
        self.hidden_BTD = self.through(block)


def first_block_inputs(model: SparseClassifier, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[BlockInputs]:
    """What enters the first block; the rest of the forward pass is not run.

    Args:
        batches: normalized pixels (B, C, H, W) and places of the patches to look at, int64 (B, K).
    """
    seen: list[BlockInputs] = []

    def note(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(BlockInputs(arguments[0], arguments[1:], named))
        raise _SeenError

    handle = find_blocks(model)[0].register_forward_pre_hook(note, with_kwargs=True)
    try:
        for pixels_BCHW, kept_BK in batches:
            try:
                with torch.no_grad():
                    model(pixels_BCHW, kept_BK)
            except _SeenError:
                inputs = seen.pop()
                yield replace(inputs, kept_BK=kept_BK).within(model)
    finally:
        handle.remove()


class _SeenError(Exception):
    """Ends a forward pass."""
