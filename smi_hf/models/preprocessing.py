"""What an image processor does to images, and whether that fits the model."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import transformers
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from transformers import AutoImageProcessor, BaseImageProcessor, PretrainedConfig, PreTrainedModel

from smi_hf.environment import image_processor_options
from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.models.loading import (
    CheckpointSource,
    connection_errors,
    find_checkpoint,
    first_line,
    needs_remote_code,
    read_config,
    remote_code_refusal,
)
from smi_hf.models.lookup import find_family, why_dense
from smi_hf.models.timm_processor import timm_processor
from smi_hf.patches import Normalization
from smi_hf.patches.grid import both_sides

_BLACK, _WHITE, _COLOR = (0, 0, 0), (255, 255, 255), (64, 128, 192)
# Of the range of a channel; processors compute in float32.
_SAME = 1e-5


def load_image_processor(name_or_path: str, *, revision: str | None = None) -> Any:
    """A checkpoint's image processor; see `read_image_processor`."""
    return read_image_processor(find_checkpoint(name_or_path, revision=revision))


def read_image_processor(source: CheckpointSource) -> Any:
    """A checkpoint's image processor, in the variant that needs no torchvision.

    Raises:
        UsageError: there is none, or it does not load.
    """
    try:
        config = read_config(source)
        if config.model_type == "timm_wrapper":
            return _of_timm(source, config)
        return AutoImageProcessor.from_pretrained(source.name_or_path, **source.options, **image_processor_options())
    except UsageError:
        raise
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


def _of_timm(source: CheckpointSource, config: PretrainedConfig) -> Any:
    """What lies beside a model of timm, which transformers would not look at, or else what timm does."""
    try:
        settings, _ = BaseImageProcessor.get_image_processor_dict(source.name_or_path, **source.options)
    except OSError:
        return timm_processor(config.pretrained_cfg)
    name = str(settings.get("image_processor_type")).removesuffix("Fast").removesuffix("Pil")
    processor_class = getattr(transformers, f"{name}Pil", None) or getattr(transformers, name, None)
    if processor_class is None:
        raise ValueError(f"there is no image processor {name!r}")
    return processor_class.from_dict(settings)


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
    if any(len(shape) != 3 for shape in shapes):
        raise UsageError(
            f"the image processor ({type(image_processor).__name__}) makes arrays of {len(shapes[0])} axes of a "
            f"picture, but images of (channels, height, width) are needed; the model is of a kind that is not served"
        )
    if len(shapes) > 1:
        raise UsageError(
            f"the image processor makes images of different sizes, such as {_size(shapes[0])} and {_size(shapes[-1])} "
            f"px, but a model takes one size at a time; save a processor that resizes or crops to height and width"
        )
    return np.stack(processed)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[-2]}x{shape[-1]}"


def normalization_of(image_processor: Any, config: PretrainedConfig) -> Normalization:
    """Mean and standard deviation that a processor applies to pixels in [0, 1], and the order of its channels.

    Every class of processors has options of its own (a factor, an offset, flipped channels, nothing at all), so what
    it makes of pictures of one color is looked at.

    Raises:
        UsageError: the images are not RGB, or what it does to pixels is no mean and standard deviation.
    """
    channels = getattr(config, "num_channels", 3)
    if channels != 3:
        raise UsageError(
            f"the model takes images of {channels} channels, but only RGB (3) can be written to a dataset"
        )
    stated = _stated_normalization(image_processor)
    black_C, white_C, color_C = (_made_of(color, image_processor) for color in (_BLACK, _WHITE, _COLOR))
    scale_C = white_C - black_C
    if not np.isfinite([black_C, scale_C]).all() or (scale_C <= 0).any():
        raise UsageError(
            f"the image processor makes {_rounded(black_C)} of black and {_rounded(white_C)} of white, but a model "
            f"sees more of a channel as larger numbers; mend preprocessor_config.json"
        )
    for is_bgr in (False, True):
        rgb_C = np.array(_COLOR) / 255
        if np.allclose(black_C + scale_C * (rgb_C[::-1] if is_bgr else rgb_C), color_C, atol=_SAME * scale_C.max()):
            break
    else:
        raise UsageError(
            f"the image processor makes {_rounded(color_C)} of a picture of color {_COLOR}, which no mean and "
            f"standard deviation of its channels make; mend preprocessor_config.json"
        )
    if stated is not None and np.allclose(_ends(*stated), (black_C, white_C), atol=_SAME * scale_C.max()):
        return Normalization(*stated, is_bgr)
    mean_C, std_C = (tuple(float(f"{value:.6g}") for value in values) for values in (-black_C / scale_C, 1 / scale_C))
    return Normalization(mean_C, std_C, is_bgr)


def _stated_normalization(image_processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation as its settings say; None if it has no such settings.

    Raises:
        UsageError: they are none.
    """
    if not getattr(image_processor, "do_normalize", True):
        return (0.0,) * 3, (1.0,) * 3
    if not hasattr(image_processor, "image_mean") or not hasattr(image_processor, "image_std"):
        return None
    given = [getattr(image_processor, name) for name in ("image_mean", "image_std")]
    mean, std = (
        (value,) * 3 if _is_number(value) else tuple(value) if isinstance(value, (list, tuple)) else ()
        for value in given
    )
    if not all(map(_is_number, mean + std)) or {len(mean), len(std)} != {3} or not all(map(_is_positive, std)):
        raise UsageError(
            f"image mean {mean or given[0]} and std {std or given[1]} must have one value per channel, and std be "
            f"positive; mend image_mean and image_std in preprocessor_config.json"
        )
    return mean, std


def _ends(mean: Sequence[float], std: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """What black and white become."""
    return -np.array(mean) / np.array(std), (1 - np.array(mean)) / np.array(std)


def _made_of(color: tuple[int, int, int], image_processor: Any) -> np.ndarray:
    """The channels (C,) of the middle of a picture of one color; at its edges some processors pad."""
    image_CHW = preprocess([Image.new("RGB", (64, 64), color)], image_processor)[0].astype(np.float64)
    if len(image_CHW) != 3:
        raise UsageError(
            f"the image processor makes images of {len(image_CHW)} channels, but only RGB (3) can be written to a "
            f"dataset"
        )
    return image_CHW[:, image_CHW.shape[1] // 2, image_CHW.shape[2] // 2]


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: float) -> bool:
    return value > 0


def image_size_for(image_processor: Any, model: PreTrainedModel, asked: int | Sequence[int] | None) -> tuple[int, int]:
    """(height, width) in pixels: as asked, else what the processor hands the model if the model can take it.

    Raises:
        UsageError: what the processor makes does not fit the model, or depends on the picture where the model's
            configuration names no size.
    """
    if asked is not None:
        asked = (asked,) if isinstance(asked, int) else tuple(asked)
        if len(asked) not in (1, 2):
            raise UsageError(f"image_size takes one side or height and width, but {asked} was given")
        return asked if len(asked) == 2 else asked * 2
    processed = _processed_size(image_processor)
    if why_dense(model) is not None:
        return processed or _configured_size(model.config)
    family = find_family(model)
    native = family.native_grid(model).image_size
    if processed is None or processed == native:
        return native
    if family.interpolates_by_itself:
        return processed
    raise UsageError(
        f"the image processor makes images of {processed[0]}x{processed[1]} px, but the model takes {native[0]}x"
        f"{native[1]}; mend preprocessor_config.json, or pass --image_size {processed[0]} {processed[1]} if the model "
        f"is used with interpolated positions"
    )


def _configured_size(config: PretrainedConfig) -> tuple[int, int]:
    side = getattr(config, "image_size", None)
    if side is None:
        raise UsageError(
            "the image processor makes images whose size depends on the picture, and the model's config.json names "
            "no size; pass --image_size"
        )
    return both_sides(side)


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
    elif set(dict(settings.get("size") or {})) == {"shortest_edge"} and height == width:
        # ConvNeXt's crops by itself, and takes no other size.
        changes = {"size": {"shortest_edge": height}, "do_resize": True}
    else:
        changes = {"size": {"height": height, "width": width}, "do_resize": True}
    changed = type(image_processor).from_dict(settings | changes)
    try:
        is_obeyed = _processed_size(changed) == image_size
    except UsageError:
        is_obeyed = False
    if not is_obeyed:
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
