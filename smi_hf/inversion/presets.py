"""Settings of an inversion for a purpose, by name: `--preset NAME`, `SparseInversionConfig.from_preset(NAME)`.

What they are worth, and what lost against them, stands in `recipes/benchmarks/README.md`.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smi_hf.errors import UsageError
from smi_hf.registry import suggest


@dataclass(frozen=True)
class Preset:
    """Options that belong together.

    Args:
        purpose: what they are for, in a few words, as help shows them.
        options: by the name of the field of `SparseInversionConfig`; all others keep their defaults.
    """

    purpose: str
    options: Mapping[str, Any] = field(default_factory=dict)


PRESETS = {
    "calibrate": Preset("32 images for calibrating a quantizer, in seconds", {"num_images": 32, "num_steps": 50}),
    "default": Preset("every option as it is without a preset"),
}


def preset_options(name: str) -> dict[str, Any]:
    """The options of a preset, a copy.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}{suggest(name, list(PRESETS))}; available: {', '.join(PRESETS)}")
    return copy.deepcopy(dict(PRESETS[name].options))
