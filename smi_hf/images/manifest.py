"""The record `manifest.json` beside exported images: what they are, what they were made from, and their digests."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from smi_hf.data.reader import SparseDataset
from smi_hf.environment import Environment
from smi_hf.files import file_sha256
from smi_hf.images.formats.base import LAYOUTS, VALUES
from smi_hf.json_record import JsonRecord, checked
from smi_hf.models.references import CheckpointReference

MANIFEST_FILE = "manifest.json"
SCHEMA_VERSION = 2


@checked
@dataclass(frozen=True)
class ExportSource:
    """The sparse dataset that images come from.

    Args:
        name, revision: as of the dataset.
        content_sha256: of its shards, None of a concatenated one.
        num_images: that were exported, by themselves or as parts of tiles.
        num_kept: patches of each.
    """

    name: str
    revision: str | None
    content_sha256: str | None
    num_images: int
    num_kept: int

    @classmethod
    def of(cls, dataset: SparseDataset) -> "ExportSource":
        record = dataset.record
        content = record.results.get("content_sha256")
        return cls(dataset.name, dataset.revision, content, len(dataset), record.keep_counts[-1])


@checked
@dataclass(frozen=True)
class ExportManifest(JsonRecord):
    """What a folder of exported images holds.

    Args:
        format: name of the format.
        shape: how kept patches became whole images ("tiled", "filled", "dense").
        values: "normalized" (float32: mean subtracted, divided by std) or "uint8" (0 to 255).
        layout: of each image, "NCHW" or "NHWC"; PNGs have none and say NHWC.
        num_images: whole images, tiles counted once.
        image_size: (height, width) in pixels.
        input_name: of the model's input where the files name it.
        image_mean, image_std: normalization of the teacher, one value per channel in its order, for pixels in [0, 1].
        teacher: the model that was inverted.
        dataset: the images that it was inverted into.
        environment: of the machine that wrote the files.
        files: sha256 of every other file of the folder, by its path in it.
        channel_order: of the teacher: "RGB" or "BGR". Values of 8 bits are RGB in any case.
    """

    file_name = MANIFEST_FILE
    version = SCHEMA_VERSION
    noun = "export"
    described = "exported images"
    made_with = "smi-hf export-images"

    format: str
    shape: str
    values: str
    layout: str
    num_images: int
    image_size: tuple[int, int]
    input_name: str | None
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    teacher: CheckpointReference
    dataset: ExportSource
    environment: Environment
    files: dict[str, str]
    channel_order: Literal["RGB", "BGR"] = "RGB"
    schema_version: int = SCHEMA_VERSION

    def check(self) -> None:
        for name, value, known in (
            ("values", self.values, VALUES),
            ("layout", self.layout, LAYOUTS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, and none of {', '.join(known)}")
        for path in self.files:
            parts = PurePosixPath(path).parts
            if not parts or ".." in parts or path.startswith("/"):
                raise ValueError(f"it names the file {path!r}, which is not in its folder")


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by its path in it, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
