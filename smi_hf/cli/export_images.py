"""`smi-hf export-images`: the images of a sparse dataset as files that other runtimes calibrate on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.closing import Closing
from smi_hf.images.export import ExportConfig
from smi_hf.images.formats.base import formats_help

if TYPE_CHECKING:
    from smi_hf.images.manifest import ExportManifest

# What --help shows.
OPTIONS = {
    "what goes in": ("dataset", "num_images"),
    "what comes out": ("output_dir", "format", "shape", "values", "layout", "input_name"),
}

_EPILOG = """examples:
  smi-hf export-images out/deit-tiny out/qnn --format raw \\
      --input_name pixel_values
  smi-hf export-images out/deit-tiny out/litert --format npy
  smi-hf export-images out/deit-tiny out/rknn --format imagefolder
  smi-hf export-images out/deit-tiny out/modelopt --format npz --shape filled

Quantizers of NPUs, phones, microcontrollers and TensorRT measure ranges on images that they read from files, through
a graph of fixed shape. A sparse image shows a part of its patches, so by default several share a whole one (tiled).

formats, what reads them, and the values and layouts that they can hold, the default first:
{formats}

Every folder has a manifest.json: teacher, normalization, layout, and the sha256 of each file. uint8 is for runtimes
that subtract the mean and divide by the standard deviation themselves; the end of the run says by which. Paths in
lists begin in the folder, so copy it where the vendor's tools are, and start them there. One example for each stack:
recipes/runtimes/README.md
"""


@dataclass
class ExportPlaces:
    """What is written where."""

    dataset: str = field(metadata={"help": "Sparse dataset: a folder that smi-hf invert wrote, or a Hub id."})
    output_dir: str = field(
        metadata={"help": "Folder for the files. It must not exist; it appears when all is done, or not at all."}
    )


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        ExportConfig,
        positionals=ExportPlaces,
        prog="smi-hf export-images",
        description="Write synthetic images as files that the quantizers of other runtimes calibrate on.",
        options=OPTIONS,
        epilog=_EPILOG.format(formats=formats_help()),
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, exports, and says what lies where and what the runtime has to know.

    Raises:
        UsageError, RunError: as `smi_hf.images.export.export_images` does.
    """
    places, config = make_parser().parse(arguments)

    from smi_hf.data import load_sparse_dataset
    from smi_hf.files import check_new_folder
    from smi_hf.images.export import check_format_is_here, export_images

    check_format_is_here(config)
    check_new_folder(Path(places.output_dir))
    dataset = load_sparse_dataset(places.dataset)
    print(_closing(export_images(dataset, places.output_dir, config), places.output_dir))


def _closing(manifest: "ExportManifest", folder: str) -> Closing:
    count, source = manifest.num_images, manifest.dataset
    whole = f"{source.num_images} images in {count} tiles" if manifest.shape == "tiled" else f"{count} images"
    size = "x".join(map(str, manifest.image_size))
    listed = sorted({path.split("/")[0] for path in manifest.files})
    quality = (
        f"made from {manifest.teacher.name}, {manifest.values} {manifest.layout}; digests in {manifest.file_name}"
    )
    if manifest.values == "uint8":
        mean, std = (
            " ".join(f"{255 * value:.6g}" for value in values) for values in (manifest.image_mean, manifest.image_std)
        )
        quality += f". Tell the runtime to subtract the mean {mean} and to divide by {std}, of pixels from 0 to 255"
        quality += ", blue first, while the files have red first" if manifest.channel_order == "BGR" else ""
    # An example for each runtime lies in recipes/runtimes.
    return Closing(f"{whole} of {size} px", quality, f"{folder}: {', '.join(listed)}")
