"""What an image processor does to images, and whether that fits the model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from transformers import AutoImageProcessor, PretrainedConfig

from smi_hf.environment import image_processor_options
from smi_hf.errors import UsageError
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
    """Pictures as a model takes them: float32 (B, C, H, W), resized and normalised by its image processor."""
    images = [picture.convert("RGB") for picture in pictures]
    return np.asarray(image_processor(images, return_tensors="np")["pixel_values"], dtype=np.float32)


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
    if getattr(image_processor, "do_rescale", True) and abs(image_processor.rescale_factor - 1 / 255) > 1e-6:
        raise UsageError(
            f"the image processor rescales by {image_processor.rescale_factor}, but only 1/255 (pixels in [0, 1] "
            f"before mean and std) is supported; save a processor with rescale_factor 1/255 and mean and std to match"
        )
    if not getattr(image_processor, "do_rescale", True):
        raise UsageError(
            "the image processor does not rescale, so the model expects pixels in [0, 255]; only pixels in [0, 1] "
            "before mean and std are supported: save a processor with do_rescale true and mean and std to match"
        )
    if not getattr(image_processor, "do_normalize", True):
        return Normalization((0.0,) * 3, (1.0,) * 3)
    mean, std = image_processor.image_mean, image_processor.image_std
    spread = [(value,) * 3 if isinstance(value, (int, float)) else tuple(value) for value in (mean, std)]
    if any(len(values) != channels for values in spread):
        raise UsageError(
            f"image mean {spread[0]} and std {spread[1]} must have one value a channel, and std be positive"
        )
    return Normalization(*spread)


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


def _processed_size(image_processor: Any) -> tuple[int, int] | None:
    """(height, width) of what the processor returns, None where it depends on the image."""
    size = image_processor.crop_size if getattr(image_processor, "do_center_crop", False) else image_processor.size
    if isinstance(size, int):
        return size, size
    size = dict(size)
    if "height" in size and "width" in size and size["height"] and size["width"]:
        return size["height"], size["width"]
    return None
