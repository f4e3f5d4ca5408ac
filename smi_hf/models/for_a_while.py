"""What is changed of modules for a while, and is as it was afterwards, also after an error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def method_replaced(module: nn.Module, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, a function stands in for a method of one module; its class is not touched."""
    setattr(module, name, function)
    try:
        yield
    finally:
        delattr(module, name)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """While it lasts, a module and all in it are in evaluation mode; each goes back to the mode that it was in."""
    before = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, was_training in before.items():
            each.training = was_training
