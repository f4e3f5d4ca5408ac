"""Pictures of a dataset as a model takes them, without labels: what images can begin as.

Legend: `C` channels, `H W` image pixels.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from smi_hf.errors import UsageError
from smi_hf.images.real import decoded_images, find_image_column, undecodable, without_image
from smi_hf.images.sources import load_rows
from smi_hf.models.preprocessing import preprocess

if TYPE_CHECKING:
    from datasets import Dataset

    from smi_hf.models import Teacher

# A digest of every picture of ImageNet would take minutes.
_MAX_DIGESTED = 4096


@dataclass(frozen=True)
class DatasetPictures:
    """The pictures of a dataset in its order; each is read when it is asked for.

    Args:
        rows: the dataset, its pictures alone, decoded.
        column: where they stand.
        image_processor: of the model.
        image_size: (height, width) that the model takes, in pixels.
        name: of the dataset, for messages.
    """

    rows: "Dataset"
    column: str
    image_processor: Any
    image_size: tuple[int, int]
    name: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Tensor:
        """Picture `number` as the image processor makes it, float32 (C, H, W).

        Raises:
            UsageError: there is no picture in that row, it cannot be decoded, or becomes one of another size.
        """
        try:
            picture = self.rows[number][self.column]
        except Exception as error:  # whatever decoders raise
            raise UsageError(undecodable(number, self.name, error)) from error
        if picture is None:
            raise UsageError(without_image(number, self.name))
        pixels_CHW = preprocess([picture], self.image_processor)[0]
        if pixels_CHW.shape[1:] != self.image_size:
            raise UsageError(
                f"the image processor makes an image of {_size(pixels_CHW.shape[1:])} px of row {number} of dataset "
                f"{self.name}, but the model takes {_size(self.image_size)}; save a processor that resizes or crops "
                f"to height and width"
            )
        return torch.from_numpy(pixels_CHW)

    @cached_property
    def sha256(self) -> str:
        """Of the number of pictures and their files; of a large dataset, of 4096 spread evenly over it."""
        from datasets import Image

        encoded = self.rows.cast_column(self.column, Image(decode=False))
        digest = hashlib.sha256(f"{len(self)} pictures".encode())
        for number in np.linspace(0, len(self) - 1, min(len(self), _MAX_DIGESTED)).round().astype(int).tolist():
            file = encoded[number][self.column] or {}
            # Pictures of a folder are files of their own, whose paths say nothing.
            data = file.get("bytes") or (Path(file["path"]).read_bytes() if file.get("path") else b"")
            digest.update(hashlib.sha256(data).digest())
        return digest.hexdigest()


def load_pictures(name_or_path: str, teacher: "Teacher") -> DatasetPictures:
    """The pictures of a dataset, as `teacher` takes them.

    Args:
        name_or_path: dataset on the Hub, a folder, or a parquet file; `name:split` names the split with it.

    Raises:
        UsageError: it cannot be loaded, or has no images, or several columns of them.
    """
    rows = load_rows(name_or_path)
    if not len(rows.dataset):
        raise UsageError(f"dataset {name_or_path} is empty")
    column = find_image_column(rows.dataset, name_or_path)
    pictures = decoded_images(rows.dataset.select_columns([column]), column, name_or_path)
    return DatasetPictures(pictures, column, teacher.image_processor, teacher.model.grid.image_size, rows.name)


def _size(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"
