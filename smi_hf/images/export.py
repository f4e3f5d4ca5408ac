"""`export_images`: a sparse dataset in, a folder of files out, as quantizers that know nothing of datasets read them.

Legend: `C` channels, `H W` image pixels.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf import progress
from smi_hf.data.samples import WHOLE_SHAPES, WholeImages
from smi_hf.environment import check_extra, describe_environment
from smi_hf.errors import UsageError
from smi_hf.files import folder_made_whole, one_line
from smi_hf.images.formats.base import (
    FORMATS,
    LAYOUTS,
    NCHW,
    NHWC,
    NORMALIZED,
    VALUES,
    ExportedImage,
    FormatInputs,
    ImageFormat,
)
from smi_hf.registry import unknown_name

if TYPE_CHECKING:  # not at run time: --help makes options of the fields here, and must not wait for torch
    from smi_hf.data.reader import SparseDataset
    from smi_hf.images.manifest import ExportManifest

_NUM_CHANNELS = 3
_ROWS_AT_ONCE = 64
_MAX_NAME = 255


@dataclass
class ExportConfig:
    """Settings of `export_images`; `HfArgumentParser` makes command line options of them.

    Raises:
        UsageError: a value is out of range, or the format cannot hold what is asked for.
    """

    format: str = field(
        metadata={
            "help": "What files are written; smi-hf export-images --help-all says who reads them.",
            "choices": FORMATS.names(),
        }
    )
    shape: str = field(
        default="tiled",
        metadata={
            "help": "How kept patches become whole images: tiled, several images to one; filled, each by itself, "
            "pruned patches black; dense, as they are, where every patch was kept.",
            "choices": WHOLE_SHAPES,
        },
    )
    values: str | None = field(
        default=None,
        metadata={
            "help": "Pixels: normalized, float32 as the model takes them; or uint8, 0 to 255, where the runtime "
            "normalizes. Default: the format's first.",
            "choices": VALUES,
        },
    )
    layout: str | None = field(
        default=None,
        metadata={
            "help": "Channels first, NCHW as in PyTorch and ONNX, or last, NHWC as in TensorFlow and in most NPUs' "
            "converters. Default: the format's first.",
            "choices": LAYOUTS,
        },
    )
    input_name: str | None = field(
        default=None,
        metadata={
            "help": "Name of the model's input: the key in npz and tfrecord (default pixel_values), and before every "
            "path in input_list.txt of raw, NAME:=PATH (default: bare paths)."
        },
    )
    num_images: int | None = field(
        default=None, metadata={"help": "Images of the dataset to export, from the first on. Default: all."}
    )
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})

    def __post_init__(self) -> None:
        self.kind()
        if self.shape not in WHOLE_SHAPES:
            raise unknown_name("shape of whole images", self.shape, WHOLE_SHAPES)
        if self.num_images is not None and self.num_images < 1:
            raise UsageError(f"num_images must be at least 1, but {self.num_images} was given")
        if self.input_name is not None:
            self._check_input_name(self.input_name)

    def _check_input_name(self, name: str) -> None:
        if not FORMATS.get(self.format).takes_input_name:
            raise UsageError(f"format {self.format!r} does not name the model's input; leave out input_name")
        if not name or not name.isprintable() or " " in name or ":=" in name or len(name.encode()) > _MAX_NAME:
            raise UsageError(
                f"input_name must be one word of at most {_MAX_NAME} bytes without ':=', but {name!r} was given"
            )

    def kind(self) -> tuple[str, str]:
        """Values and layout, the format's own where none were given."""
        for name, value, known in (("kind of values", self.values, VALUES), ("layout", self.layout, LAYOUTS)):
            if value is not None and value not in known:
                raise unknown_name(name, value, known)
        return FORMATS.get(self.format).kind(self.format, self.values, self.layout)


def export_images(dataset: "SparseDataset", output_dir: str | Path, config: ExportConfig) -> "ExportManifest":
    """Writes the images of a sparse dataset as files, for runtimes that calibrate a graph of fixed shape.

    `output_dir` appears when all is done, or not at all: the files of the format, and `manifest.json`. The same
    images and settings give the same files, byte for byte.

    Args:
        dataset: not streamed.
        output_dir: must not exist.

    Returns:
        What was written.

    Raises:
        UsageError: `output_dir` exists or cannot be written, images are of different sizes or no RGB, one cannot be
            decoded, the format lacks a package, or the shape does not fit the dataset.
        RunError: there is no space left.
    """
    output_dir = Path(output_dir)
    made_as = FORMATS.get(config.format)
    check_format_is_here(config)
    dataset = dataset.first(config.num_images)
    images = WholeImages(dataset, config.shape)
    check_pictures(dataset)

    from smi_hf.images.manifest import ExportManifest

    with folder_made_whole(output_dir) as folder:
        folder.mkdir()
        _write(made_as, images, config, folder)
        _manifest(images, config, folder).save(folder)
    return ExportManifest.load(output_dir)


def check_format_is_here(config: ExportConfig) -> None:
    """Checks that the packages of a format are installed.

    Raises:
        UsageError: one is not; holds the pip command.
    """
    extra = FORMATS.get(config.format).extra
    if extra is not None:
        check_extra(extra, f"format {config.format!r}")


def check_pictures(dataset: "SparseDataset") -> None:
    """Checks, by the headers of its PNGs, that the images of a dataset go into one array.

    Raises:
        UsageError: one has another size than the dataset's record says, is no RGB of 8 bits, or is no PNG.
    """
    from PIL import Image

    height, width = dataset.record.image_size
    rows = dataset.random_access("an export").select_columns(["image", "image_index"]).with_format("arrow")
    for block in rows.iter(batch_size=_ROWS_AT_ONCE):
        for row in block.to_pylist():
            number = row["image_index"]
            try:
                with Image.open(io.BytesIO(row["image"]["bytes"]), formats=["PNG"]) as picture:
                    size, mode, channels = picture.size, picture.mode, len(picture.getbands())
            # All that Pillow raises for bytes that are no PNG.
            except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError) as error:
                raise UsageError(
                    f"image {number} is no PNG ({one_line(error)}); download the dataset or make it again"
                ) from error
            if size != (width, height):
                raise UsageError(
                    f"image {number} has {size[1]}x{size[0]} px, but the dataset's record says {height}x{width} px, "
                    f"and a graph of fixed shape takes one size; nothing was written, so make the dataset again"
                )
            if mode != "RGB":
                raise UsageError(
                    f"image {number} has {channels} channel{'s' if channels > 1 else ''} ({mode}), but the model "
                    f"takes {_NUM_CHANNELS} (RGB) of 8 bits; nothing was written, so make the dataset again"
                )


def _write(made_as: ImageFormat, images: WholeImages, config: ExportConfig, folder: Path) -> None:
    values, layout = config.kind()
    height, width = images.dataset.record.image_size
    inputs = FormatInputs(
        images=_exported(images, config),
        num_images=len(images),
        shape=(_NUM_CHANNELS, height, width) if layout == NCHW else (height, width, _NUM_CHANNELS),
        dtype="float32" if values == NORMALIZED else "uint8",
        input_name=config.input_name,
        label_names=images.dataset.record.label_names,
    )
    made_as.write(inputs, folder)


def _exported(images: WholeImages, config: ExportConfig) -> Iterator[ExportedImage]:
    """Each image as the files have it, with a progress bar."""
    values, layout = config.kind()
    normalization = images.dataset.record.normalization
    for number in progress.each(range(len(images)), "Exporting", unit="image", disable=config.disable_tqdm):
        pixels_CHW, label = images[number]
        if values == NORMALIZED:
            pixels_CHW = normalization.from_uint8(pixels_CHW)
        pixels = pixels_CHW.permute(1, 2, 0) if layout == NHWC else pixels_CHW
        yield ExportedImage(pixels.contiguous().numpy(), label)


def _manifest(images: WholeImages, config: ExportConfig, folder: Path) -> "ExportManifest":
    from smi_hf.images.manifest import ExportManifest, ExportSource, digests

    record = images.dataset.record
    values, layout = config.kind()
    return ExportManifest(
        format=config.format,
        shape=config.shape,
        values=values,
        layout=layout,
        num_images=len(images),
        image_size=record.image_size,
        input_name=config.input_name,
        image_mean=record.image_mean,
        image_std=record.image_std,
        channel_order=record.channel_order,
        teacher=record.teacher,
        dataset=ExportSource.of(images.dataset),
        environment=describe_environment("cpu", FORMATS.get(config.format).extra),
        files=digests(folder),
    )
