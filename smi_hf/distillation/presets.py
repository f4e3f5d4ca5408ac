"""How long, how fast and on which views a student is taught, chosen by what is taught: `--preset NAME`.

A preset fills in what was left open of the settings once the number of images is known. What they are worth stands in
`recipes/README.md`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Any

AUTO, HEAD, RECOVER, FINETUNE, SCRATCH, TRAINER = "auto", "head", "recover", "finetune", "scratch", "trainer"

# What a preset chooses where it was left open, and the values where it says nothing: those of
# `transformers.TrainingArguments` but for the learning rate, the paper's temperature and three plain augmentations.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "num_train_epochs": 3.0,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "linear",
        "temperature": 20.0,
        "augmentations": ("flip", "shift", "color"),
        "num_views": 0,
        "hidden_state_weight": 0.0,
    }
)


@dataclass(frozen=True)
class Preset:
    """Settings for a kind of student.

    Args:
        purpose: what they are for, in a few words, as help shows them.
        choose: from the number of images to settings by name, some of `DEFAULTS`.
    """

    purpose: str
    choose: Callable[[int], Mapping[str, Any]]


def _head(num_images: int) -> dict[str, Any]:
    """A step costs next to nothing, a view a forward pass of teacher and backbone: few views, many epochs."""
    batch_size, num_views = 128, min(64, max(8, ceil(4096 / num_images)))
    return {
        "num_train_epochs": _epochs(6400, num_images * num_views, batch_size),
        "per_device_train_batch_size": batch_size,
        "learning_rate": 0.1,
        "lr_scheduler_type": "cosine",
        "augmentations": ("flip", "shift", "color", "subset"),
        "num_views": num_views,
    }


def _recover(num_images: int) -> dict[str, Any]:
    """What is there is nearly right: small steps, towards every layer of the teacher and its answers as they are."""
    return {
        "num_train_epochs": _epochs(300, num_images, 32),
        "per_device_train_batch_size": min(32, num_images),
        "learning_rate": 3e-4,
        "lr_scheduler_type": "cosine",
        "temperature": 1.0,
        "hidden_state_weight": 10.0,
    }


def _finetune(num_images: int) -> dict[str, Any]:
    return {**_scratch(num_images), "learning_rate": 3e-4}


def _scratch(num_images: int) -> dict[str, Any]:
    return {
        "num_train_epochs": _epochs(1000, num_images, 32),
        "per_device_train_batch_size": min(32, num_images),
        "lr_scheduler_type": "cosine",
    }


def _epochs(num_steps: int, num_views: int, batch_size: int) -> float:
    """Whole epochs that are about so many steps, at least one."""
    return float(max(1, round(num_steps / ceil(num_views / batch_size))))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        HEAD: Preset("a new head on a frozen backbone", _head),
        RECOVER: Preset("a pruned teacher, or some of its layers, taught what it lost", _recover),
        FINETUNE: Preset("another checkpoint, all of which learns", _finetune),
        SCRATCH: Preset("a student that knows nothing yet", _scratch),
        TRAINER: Preset("the defaults of transformers.TrainingArguments", lambda num_images: {}),
    }
)


def preset_settings(name: str, num_images: int) -> dict[str, Any]:
    """All settings that a preset chooses, for a number of images, at least 1."""
    chosen = {**DEFAULTS, **PRESETS[name].choose(num_images)}
    return chosen | {"augmentations": list(chosen["augmentations"])}


def preset_help() -> str:
    """One line for each preset, as help shows them."""
    return "\n".join(f"  {name:<9} {preset.purpose}" for name, preset in PRESETS.items())
