"""What an image processor does to images, and whether that fits the model."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from transformers import AutoImageProcessor, PretrainedConfig

from smi_hf.environment import image_processor_options
from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.models.families.base import find_family
from smi_hf.models.loading import (
    CheckpointSource,
    connection_errors,
    find_checkpoint,
    first_line,
    needs_remote_code,
    remote_code_refusal,
)
from smi_hf.patches import Normalization


def load_image_processor(name_or_path: str, *, revision: str | None = None) -> Any:
    """A checkpoint's image processor; see `read_image_processor`."""
    return read_image_processor(find_checkpoint(name_or_path, revision=revision))


def read_image_processor(source: CheckpointSource) -> Any:
    """A checkpoint's image processor, in the variant that needs no torchvision.

    Raises:
        UsageError: there is none, or it does not load.
    """
    try:
        return AutoImageProcessor.from_pretrained(source.name_or_path, **source.options, **image_processor_options())
    # What a file of other JSON than a processor's leads to, and a processor that needs torchvision.
    except (
        OSError,
        HfHubHTTPError,
        *connection_errors(),
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        ImportError,
    ) as error:
        if needs_remote_code(error):
            raise UsageError(remote_code_refusal(source)) from error
        raise UsageError(
            f"{source.named} has no image processor that loads (preprocessor_config.json), so its image size and "
            f"normalization are unknown; save one beside the weights with image_processor.save_pretrained(...). "
            f"transformers says: {first_line(error)}"
        ) from error


def preprocess(pictures: Sequence[Image.Image], image_processor: Any) -> np.ndarray:
    """Pictures as a model takes them: float32 (B, C, H, W), resized and normalized by its image processor.

    Raises:
        UsageError: it fails, or makes images of different sizes of them.
    """
    try:
        # One at a time: where sizes differ, transformers fails to make one array of them.
        processed = [
            np.asarray(image_processor([picture.convert("RGB")], return_tensors="np")["pixel_values"][0], np.float32)
            for picture in pictures
        ]
    # What settings lead to that no image processor checks: sizes of None, a mean of two values.
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"the image processor fails ({type(error).__name__}: {one_line(error)}); mend preprocessor_config.json"
        ) from error
    shapes = sorted({image.shape for image in processed})
    if len(shapes) > 1:
        raise UsageError(
            f"the image processor makes images of different sizes, such as {_size(shapes[0])} and {_size(shapes[-1])} "
            f"px, but a model takes one size at a time; save a processor that resizes or crops to height and width"
        )
    return np.stack(processed)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[-2]}x{shape[-1]}"


def normalization_of(image_processor: Any, config: PretrainedConfig) -> Normalization:
    """Mean and standard deviation that a processor applies to pixels in [0, 1].

    Raises:
        UsageError: the images are not RGB, or it scales pixels otherwise.
    """
    channels = getattr(config, "num_channels", 3)
    if channels != 3:
        raise UsageError(
            f"the model takes images of {channels} channels, but only RGB (3) can be written to a dataset"
        )
    if not getattr(image_processor, "do_rescale", True):
        raise UsageError(
            "the image processor does not rescale, so the model expects pixels in [0, 255]; only pixels in [0, 1] "
            "before mean and std are supported: save a processor with do_rescale true and mean and std to match"
        )
    factor = getattr(image_processor, "rescale_factor", 1 / 255)
    if not _is_number(factor) or abs(factor - 1 / 255) > 1e-6:
        raise UsageError(
            f"the image processor rescales by {factor}, but only 1/255 (pixels in [0, 1] before mean and std) is "
            f"supported; save a processor with rescale_factor 1/255 and mean and std to match"
        )
    if not getattr(image_processor, "do_normalize", True):
        return Normalization((0.0,) * 3, (1.0,) * 3)
    given = [getattr(image_processor, name, None) for name in ("image_mean", "image_std")]
    mean, std = (
        (value,) * 3 if _is_number(value) else tuple(value) if isinstance(value, (list, tuple)) else ()
        for value in given
    )
    if not all(map(_is_number, mean + std)) or {len(mean), len(std)} != {channels} or not all(map(_is_positive, std)):
        raise UsageError(
            f"image mean {mean or given[0]} and std {std or given[1]} must have one value per channel, and std be "
            f"positive; mend image_mean and image_std in preprocessor_config.json"
        )
    return Normalization(mean, std)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: float) -> bool:
    return value > 0


def image_size_for(
    image_processor: Any, config: PretrainedConfig, asked: int | Sequence[int] | None
) -> tuple[int, int]:
    """(height, width) in pixels: as asked, else what the processor hands the model if the model can take it.

    Raises:
        UsageError: what the processor makes does not fit the model.
    """
    if asked is not None:
        asked = (asked,) if isinstance(asked, int) else tuple(asked)
        if len(asked) not in (1, 2):
            raise UsageError(f"image_size takes one side or height and width, but {asked} was given")
        return asked if len(asked) == 2 else asked * 2
    side = config.image_size
    native = (side, side) if isinstance(side, int) else tuple(side)
    processed = _processed_size(image_processor)
    if processed is None or processed == native:
        return native
    if find_family(config).interpolates_by_itself:
        return processed
    raise UsageError(
        f"the image processor makes images of {processed[0]}x{processed[1]} px, but the model takes {native[0]}x"
        f"{native[1]}; mend preprocessor_config.json, or pass --image_size {processed[0]} {processed[1]} if the model "
        f"is used with interpolated positions"
    )


def with_image_size(image_processor: Any, image_size: tuple[int, int]) -> Any:
    """An image processor that makes images of (height, width): the same if it does, else a copy that is changed.

    One whose size depends on the picture is returned as it is.

    Raises:
        UsageError: it cannot be made to.
    """
    made = _processed_size(image_processor)
    if made is None or made == image_size:
        return image_processor
    height, width = image_size
    settings = image_processor.to_dict()
    if settings.get("do_center_crop"):
        changes = {"crop_size": {"height": height, "width": width}}
        # As much of the picture is cropped as before.
        scale = min(height / made[0], width / made[1])
        changes["size"] = {key: math.ceil(scale * value) for key, value in dict(settings["size"]).items() if value}
    else:
        changes = {"size": {"height": height, "width": width}, "do_resize": True}
    changed = type(image_processor).from_dict(settings | changes)
    if _processed_size(changed) != image_size:
        raise UsageError(
            f"the image processor makes images of {made[0]}x{made[1]} px and cannot be told to make {height}x{width}; "
            f"save one that does beside the weights"
        )
    return changed


def _processed_size(image_processor: Any) -> tuple[int, int] | None:
    """(height, width) of what the processor makes, None where it depends on the picture."""
    # Tried, as settings of size and crop mean something else in each class of processor.
    wide, high = (preprocess([Image.new("RGB", size)], image_processor).shape[-2:] for size in ((96, 64), (64, 96)))
    return tuple(wide) if wide == high else None
