"""BEiT: every block adds a bias to its attention that depends on how two patches lie to each other.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `T = 1 + K` tokens, `A` heads, `D` hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from smi_hf.models.families.base import Positions, ReadFrom, ViTFamily, register_family
from smi_hf.models.for_a_while import method_replaced
from smi_hf.patches.grid import PatchGrid

# Classes of embeddings that return how many patches there are as well, which nobody reads: those of transformers 4.
_RETURN_SIZES: set[type] = set()


class BeitFamily(ViTFamily):
    """See the module."""

    def reads_from(self, model: PreTrainedModel) -> ReadFrom:
        return "patches" if model.config.use_mean_pooling else "cls"

    def embed(self, model: PreTrainedModel, pixels_BCHW: Tensor, **arguments: Any) -> Tensor:
        found = super().embed(model, pixels_BCHW, **arguments)
        if not isinstance(found, tuple):
            return found
        _RETURN_SIZES.add(type(self.find_embeddings(model)))
        return found[0]

    def packed(self, tokens_BTD: Tensor) -> Tensor:
        # The stock forward takes height and width off the end of its shape.
        return tokens_BTD[..., None]

    def unpacker(self, model: PreTrainedModel) -> Callable[..., Any]:
        # There are no tokens before `embed` was called.
        has_sizes = type(self.find_embeddings(model)) in _RETURN_SIZES
        return _return_tokens_and_sizes if has_sizes else _return_tokens

    @contextmanager
    def attentions_seen(self, model: PreTrainedModel) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
        # Where the implementation is a class of its own, that without a fused kernel is the one it derives from.
        fused = [module for module in model.modules() if type(module).__name__.endswith("SdpaSelfAttention")]
        with ExitStack() as stack:
            for module in fused:
                plain = partial(type(module).__bases__[0].forward, module)
                stack.enter_context(method_replaced(module, "forward", plain))
            yield stack.enter_context(super().attentions_seen(model))

    def positions(self, model: PreTrainedModel, grid: PatchGrid) -> Sequence[Positions]:
        backbone, window = self.find_backbone(model), (grid.rows, grid.columns)
        modules = [each for each in backbone.modules() if type(each).__name__.endswith("RelativePositionBias")]
        return [Positions(each, partial(_full, each, window), _gathered) for each in modules]


def _return_tokens(tokens_BTD1: Tensor, *args: object, **kwargs: object) -> Tensor:
    return tokens_BTD1[..., 0]


def _return_tokens_and_sizes(tokens_BTD1: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, tuple[int, int]]:
    return tokens_BTD1[..., 0], (0, 0)


def _full(module: nn.Module, window: tuple[int, int]) -> Tensor:
    """The bias of the whole grid, (1, A, 1 + N, 1 + N)."""
    return type(module).forward(module, window, False, dim_size=1 + window[0] * window[1])


def _gathered(bias_1ATT: Tensor, kept_BK: Tensor) -> Tensor:
    """The bias of the CLS token and the kept patches, (B, A, T, T)."""
    places_BT = torch.cat([torch.zeros_like(kept_BK[:, :1]), kept_BK + 1], dim=1)
    return bias_1ATT[0][:, places_BT[:, :, None], places_BT[:, None, :]].transpose(0, 1)


register_family(
    "beit", BeitFamily(backbone="beit", can_interpolate=False, bare_options=(("add_pooling_layer", False),))
)
