"""Lets torchvision be imported that was built for another PyTorch: timm imports it, and calls no operator of it."""

import importlib
import importlib.util
import sys

import torch

_OPERATORS = ("nms", "qnms")
_KEPT: list[torch.library.Library] = []


def supply() -> None:
    """Declares what torchvision gives shapes for, where its own library does not load beside a PyTorch for CPUs alone.

    Where there is no torchvision, or one that works, nothing is done.
    """
    if importlib.util.find_spec("torchvision") is None or _KEPT:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _KEPT.append(torch.library.Library("torchvision", "DEF"))
        for name in _OPERATORS:
            _KEPT[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")
