"""What timm does to pictures, as an image processor of transformers, which needs neither timm nor torchvision."""

import math
from collections.abc import Mapping
from typing import Any

import transformers

from smi_hf.errors import UsageError

# Of timm (`timm.data.resolve_data_config`), where a checkpoint says nothing.
_DEFAULTS = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "crop_pct": 0.875,
    "crop_mode": "center",
}
# By the names of Pillow.
_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "random": 2, "bicubic": 3, "box": 4, "hamming": 5}


def timm_processor(pretrained_cfg: Mapping[str, Any] | None) -> Any:
    """The image processor that resizes, crops and normalizes as timm does to evaluate a model.

    The middle of a picture may be cropped a pixel beside where timm crops it.

    Args:
        pretrained_cfg: of the checkpoint's config.json.

    Raises:
        UsageError: it names a way of cropping or interpolating that no image processor of transformers has.
    """
    given = {**_DEFAULTS, **{name: value for name, value in (pretrained_cfg or {}).items() if value is not None}}
    height, width = given["input_size"][1:]
    mode, interpolation = given["crop_mode"], given["interpolation"]
    if mode not in ("center", "squash") or interpolation not in _RESAMPLE:
        raise UsageError(
            f"timm prepares pictures for this model by crop_mode {mode!r} and interpolation {interpolation!r}, which "
            f"no image processor of transformers does; save one beside the weights (preprocessor_config.json)"
        )
    resized = [math.floor(side / given["crop_pct"]) for side in (height, width)]
    is_square = resized[0] == resized[1]
    size = {"shortest_edge": resized[0]} if mode == "center" and is_square else dict(zip(("height", "width"), resized))
    # The variant that needs no torchvision, where there are two.
    processor_class = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    return processor_class(
        size=size,
        crop_size={"height": height, "width": width},
        resample=_RESAMPLE[interpolation],
        image_mean=list(given["mean"]),
        image_std=list(given["std"]),
    )
