"""Settings of an inversion for a purpose, by name: `--preset NAME`, `SparseInversionConfig.from_preset(NAME)`.

What they are worth, and what lost against them, stands in `recipes/benchmarks/README.md`.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smi_hf.registry import unknown_name


@dataclass(frozen=True)
class Preset:
    """Options that belong together.

    Args:
        purpose: what they are for, in a few words, as help shows them.
        options: by the name of the field of `SparseInversionConfig`; all others keep their defaults.
    """

    purpose: str
    options: Mapping[str, Any] = field(default_factory=dict)


# What won on DeiT-Tiny: from scenes, over the spectrum, with ten times the paper's smoothing, and pruned early, so
# that most steps are cheap and go into the patches that stay.
_BEST = {"start": "scenes", "move": "frequency", "learning_rate": 0.1, "tv_weight": 0.0057}
_DEFAULT = {"num_images": 64, "num_steps": 70, "prune_steps": [4, 8, 12, 16], **_BEST}

# Policies that keep every patch, or divide the run by themselves.
WITHOUT_SCHEDULE = ("dense", "pri")

PRESETS = {
    "calibrate": Preset(
        "32 images for calibrating a quantizer, in seconds",
        {"num_images": 32, "num_steps": 24, "prune_steps": [1, 2, 3, 4], **_BEST},
    ),
    "default": Preset("64 images for any use, in a minute or two on two cores", _DEFAULT),
    "best": Preset(
        "320 such images: on DeiT-Tiny, more images were worth more than more steps",
        {**_DEFAULT, "num_images": 320},
    ),
    "psaq_vit": Preset(
        "PSAQ-ViT (arXiv 2203.02250) as near as terms and schedules here come to it",
        {
            "num_images": 32,
            "num_steps": 1000,
            "policy": "dense",
            "learning_rate": 0.2,
            "adam_beta2": 0.9,
            "lr_schedule": "one_cycle",
            "loss_weights": ["psaq_entropy=1"],
        },
    ),
}


def preset_options(name: str, *, policy: str | None = None) -> dict[str, Any]:
    """The options of a preset, a copy.

    Args:
        policy: that it is used with; one that has no steps to prune at takes none from the preset.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, list(PRESETS))
    options = copy.deepcopy(dict(PRESETS[name].options))
    if policy in WITHOUT_SCHEDULE:
        for key in ("prune_steps", "prune_ratios"):
            options.pop(key, None)
    return options


def preset_help() -> str:
    """One line for each preset, as help shows them: what it is for, and what it sets."""
    lines = []
    for name, preset in PRESETS.items():
        values = {key: value if isinstance(value, list) else [value] for key, value in preset.options.items()}
        options = ", ".join(" ".join(map(str, [key, *value])) for key, value in values.items())
        lines.append(f"  {name:<10} {preset.purpose}{f': {options}' if options else ''}")
    return "\n".join(lines)
