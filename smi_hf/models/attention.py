"""Which implementation of attention a model computes with."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

_TALKATIVE = logging.getLogger("transformers.modeling_utils")


@contextmanager
def attention_implementation(model: PreTrainedModel, name: str) -> Iterator[None]:
    """While it lasts, the model attends with that implementation ("eager", "sdpa", ...).

    A model whose code has no choice of implementations, such as the older BEiTs, is left as it is.
    """
    if isinstance(getattr(model, "timm_model", None), nn.Module):
        with _in_timm(model, is_fused=name != "eager"):
            yield
        return
    if not type(model)._can_set_attn_implementation():
        yield
        return
    before = model.config._attn_implementation
    _set(model, name)
    try:
        yield
    finally:
        _set(model, before)


def _set(model: PreTrainedModel, name: str) -> None:
    # It warns of every part of a configuration that the model has no module for, such as the texts of CLIP.
    level = _TALKATIVE.level
    _TALKATIVE.setLevel(logging.ERROR)
    try:
        model.set_attn_implementation(name)
    finally:
        _TALKATIVE.setLevel(level)


@contextmanager
def _in_timm(model: PreTrainedModel, *, is_fused: bool) -> Iterator[None]:
    """The same for timm, whose modules of attention each say whether a fused kernel computes them."""
    before = {module: module.fused_attn for module in model.modules() if hasattr(module, "fused_attn")}
    for module in before:
        module.fused_attn = is_fused
    try:
        yield
    finally:
        for module, was_fused in before.items():
            module.fused_attn = was_fused
