"""A model in two halves that are exported apart: the embeddings, and all that is behind them.

The second half takes any number of tokens, so that it can be calibrated on those of the kept patches, and what is
measured there holds for the whole. A model whose second half knows positions, or that has no such halves, is exported
whole, and calibrated on images that consist of kept patches (`calibration_inputs`).

Legend: `B` images, `T` tokens, `D` hidden size, `A` heads, `E` size of a head, `C` channels, `H W` image pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from smi_hf.images.kept import KeptImages
from smi_hf.images.tiles import whole_images
from smi_hf.models import SparseClassifier, VisionClassifier
from smi_hf.models.attention import attention_implementation
from smi_hf.models.for_a_while import method_replaced

_ATTENTION = "smi_hf_unmasked"
_PROJECTIONS = ("query", "key", "value")


class Embeddings(nn.Module):
    """The embeddings of a model at its grid's image size, at the same place in the tree of modules.

    From normalized images (B, C, H, W) to tokens (B, T, D).
    """

    def __init__(self, model: SparseClassifier) -> None:
        super().__init__()
        self.path = model.embeddings_path
        self.arguments = model.stock_arguments
        *parents, name = self.path.split(".")
        place: nn.Module = self
        for parent in parents:
            place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.add_module(name, model.embeddings)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.get_submodule(self.path)(pixel_values, **self.arguments)


@torch.no_grad()
def examples(model: VisionClassifier, batch_size: int = 2) -> tuple[Tensor, Tensor | None]:
    """Black images (B, C, H, W) and their tokens (B, T, D), for exporters that follow a forward pass.

    No tokens of a model that is exported whole.
    """
    pixels_BCHW = torch.zeros(batch_size, model.num_channels, *model.grid.image_size)
    if not model.takes_any_tokens:
        return pixels_BCHW, None
    return pixels_BCHW, model.embed(model.grid.cut(pixels_BCHW), model.grid.all_patches(batch_size))


def calibration_inputs(calibration: KeptImages, model: VisionClassifier) -> Iterator[Tensor]:
    """What the second half sees, or the whole of a model that has no halves: kept patches and nothing else.

    Their tokens (B, T, D), or images (B, C, H, W) that are tiled from them.
    """
    return calibration.tokens(model) if model.takes_any_tokens else whole_images(calibration, model.grid)


@contextmanager
def ready_to_trace(model: VisionClassifier) -> Iterator[None]:
    """While it lasts, the model is as exporters and quantizers need it; what it answers is the same."""
    with _positions_known(model), _attention_spelled_out(model):
        yield


@contextmanager
def _positions_known(model: VisionClassifier) -> Iterator[None]:
    """While it lasts, all that depends on positions alone is computed once, and is a constant where it is traced.

    DINOv2 would interpolate its positions anew for each batch; and where OpenVINO folds that into a constant, it
    antialiases differently from PyTorch, which moves logits in the fourth digit. What DINOv3 rotates by makes a graph
    with branches, which ONNX Runtime's quantizer refuses.
    """
    if not isinstance(model, SparseClassifier):
        yield
        return
    with ExitStack() as stack:
        for each in model.family.positions(model.model, model.grid):
            with torch.no_grad():
                value = each.full()
            stack.enter_context(method_replaced(each.module, each.method, partial(_given, value)))
        interpolate = getattr(model.embeddings, "interpolate_pos_encoding", None)
        if interpolate is not None:
            once = _Once(interpolate)
            stack.enter_context(method_replaced(model.embeddings, "interpolate_pos_encoding", once))
        yield


def _given(value: Any, *args: object, **kwargs: object) -> Any:
    return value


class _Once:
    """A function that is called once, and gives the same ever after."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.value: Tensor | None = None

    def __call__(self, *args: object, **kwargs: object) -> Tensor:
        if self.value is None:
            self.value = self.function(*args, **kwargs)
        return self.value


@contextmanager
def _attention_spelled_out(model: VisionClassifier) -> Iterator[None]:
    """While it lasts, PyTorch's own module of attention, which pools for SigLIP, computes by layers and products.

    Traced as it is, it would know the number of images of the example, and its three layers would be one weight, of
    which no quantizer knows the parts.
    """
    with ExitStack() as stack:
        for module in [each for each in model.model.modules() if isinstance(each, nn.MultiheadAttention)]:
            assert module.batch_first and module.in_proj_weight is not None, "as of SigLIP"
            for name, weight, bias in zip(_PROJECTIONS, module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)):
                layer = nn.Linear(*weight.shape[::-1], device="meta")
                layer.weight, layer.bias = (
                    nn.Parameter(each.detach(), requires_grad=False) for each in (weight, bias)
                )
                module.add_module(name, layer)
                stack.callback(delattr, module, name)
            stack.enter_context(method_replaced(module, "forward", partial(_attend_spelled_out, module)))
        yield


def _attend_spelled_out(
    module: nn.MultiheadAttention, query_BQD: Tensor, key_BTD: Tensor, value_BTD: Tensor, **_: object
) -> tuple[Tensor, None]:
    query_BAQE, key_BATE, value_BATE = (
        module.get_submodule(name)(each).unflatten(-1, (module.num_heads, -1)).transpose(1, 2)
        for name, each in zip(_PROJECTIONS, (query_BQD, key_BTD, value_BTD))
    )
    scores_BAQT = query_BAQE @ key_BATE.transpose(2, 3) * query_BAQE.shape[-1] ** -0.5
    read_BQD = (scores_BAQT.softmax(dim=-1) @ value_BATE).transpose(1, 2).flatten(2)
    return module.out_proj(read_BQD), None


@contextmanager
def unmasked_attention(model: VisionClassifier) -> Iterator[None]:
    """While it lasts, the model attends by two products and a softmax.

    For transformers 5, which in an export makes a mask of ones for each of its own implementations, and adds it.
    Models that hand a mask over, such as BEiT its bias, keep theirs; so do those without a choice of implementations.
    """
    from transformers import AttentionInterface

    if not model.takes_any_tokens:
        yield
        return
    AttentionInterface.register(_ATTENTION, _attend)
    with attention_implementation(model.model, _ATTENTION):
        yield


def _attend(
    module: nn.Module,
    query_BATE: Tensor,
    key_BATE: Tensor,
    value_BATE: Tensor,
    attention_mask: None = None,
    *,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    assert attention_mask is None, "transformers masks patches"
    scores_BATT = (query_BATE @ key_BATE.transpose(2, 3) * scaling).softmax(dim=-1)
    return (scores_BATT @ value_BATE).transpose(1, 2).contiguous(), None
