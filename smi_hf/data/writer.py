"""Writing a sparse dataset: a shard for each finished batch, at once and atomically."""

import errno
import hashlib
import io
import logging
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image

from smi_hf.data.files import remove_temporaries, replaced_atomically
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import (
    CARD_FILE,
    DATA_FOLDER,
    PREVIEW_FILE,
    RECORD_FILE,
    STAGES_FILE,
    SparseImages,
    dataset_features,
)
from smi_hf.errors import UsageError
from smi_hf.patches import PatchGrid

logger = logging.getLogger(__name__)

_READ_ONLY_ERRORS = frozenset({errno.EROFS, errno.ENAMETOOLONG})
_SHARD_NAME = re.compile(r"train-(\d+)-(\d+)\.parquet")


class SparseDatasetWriter:
    """Writes one dataset folder; several processes may write into it, each its own images.

    Args:
        folder: the dataset folder.
        record: what the dataset is made from; decides whether a folder that exists may be continued.
    """

    def __init__(self, folder: Path, record: DatasetRecord) -> None:
        self.folder = folder
        self.record = record

    def open(self, *, overwrite: bool = False) -> None:
        """Makes the folder ready: new, or continued if it holds the same run unfinished. One process calls this.

        Args:
            overwrite: discard the sparse dataset that is there.

        Raises:
            UsageError: the folder holds something else, another run's dataset, or cannot be written.
        """
        try:
            self._check_contents(overwrite)
            (self.folder / DATA_FOLDER).mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, self.folder / DATA_FOLDER):
                remove_temporaries(folder)
            if not (self.folder / RECORD_FILE).exists():
                self.record.save(self.folder)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"output_dir {self.folder} cannot be written: {error}; choose another folder") from error
        except OSError as error:
            if error.errno in _READ_ONLY_ERRORS:
                raise UsageError(
                    f"output_dir {self.folder} cannot be written: {error}; choose another folder"
                ) from error
            raise

    def _check_contents(self, overwrite: bool) -> None:
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return
        if self.folder.is_dir() and not (self.folder / RECORD_FILE).is_file():
            raise UsageError(
                f"output_dir {self.folder} is not empty and holds no sparse dataset ({RECORD_FILE}); nothing in it "
                f"was touched, so choose another folder"
            )
        if overwrite:
            self._discard()
            return
        before = DatasetRecord.load(self.folder)
        if differences := self.record.differences(before):
            raise UsageError(
                f"output_dir {self.folder} holds a dataset of other settings: {'; '.join(differences)}. Choose "
                f"another folder, use the old settings to continue it, or discard it with --overwrite_output_dir"
            )
        if self.record.num_images > before.num_images:
            # An unfinished dataset has no card. An image depends on its number alone, so those there stay as they are.
            (self.folder / CARD_FILE).unlink(missing_ok=True)
            self.record.save(self.folder)

    def _discard(self) -> None:
        # The record goes last: without it the folder would be a stranger's, and could not be discarded again.
        shutil.rmtree(self.folder / DATA_FOLDER, ignore_errors=True)
        for name in (CARD_FILE, PREVIEW_FILE, STAGES_FILE, RECORD_FILE):
            (self.folder / name).unlink(missing_ok=True)

    def finished_images(self) -> set[int]:
        """Which images of the run are on disk. A shard that cannot be read is removed, so that it is made again."""
        finished: set[int] = set()
        for path in self.shards():
            first, last = map(int, _SHARD_NAME.fullmatch(path.name).groups())
            try:
                whole = pyarrow.parquet.read_metadata(path).num_rows == last - first + 1
            except (pyarrow.ArrowException, OSError):
                whole = False
            if whole:
                finished.update(range(first, last + 1))
            else:
                logger.warning("shard %s is damaged; its images are made again", path.name)
                path.unlink()
        return finished

    def content_sha256(self) -> str:
        """A digest of all shards; memory does not grow with them."""
        digest = hashlib.sha256()
        for path in self.shards():
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def shards(self) -> list[Path]:
        """The shards on disk, in order of their images."""
        return sorted(path for path in (self.folder / DATA_FOLDER).iterdir() if _SHARD_NAME.fullmatch(path.name))

    def write(self, images: SparseImages) -> Path:
        """Writes one shard and returns its path.

        Args:
            images: with consecutive image indices.

        Raises:
            OSError: the file system refuses, for instance for lack of space; no half shard is left.
        """
        first, last = images.image_indices[0], images.image_indices[-1]
        assert images.image_indices == tuple(range(first, last + 1)), "a shard holds consecutive images"
        features = dataset_features(self.record.label_names)
        count = len(images.image_indices)
        table = pyarrow.Table.from_pydict(
            {
                "image": [{"bytes": png, "path": None} for png in encode_images(images, self.record.grid)],
                "label": list(map(int, images.labels)),
                "kept_patches": list(images.kept_BK.astype(np.int16)),
                "image_index": list(images.image_indices),
                "seed": [images.seed] * count,
                "target_probability": images.target_probability_B.astype(np.float32),
                "steps": [images.steps] * count,
            },
            schema=features.arrow_schema,
        )
        path = self.folder / DATA_FOLDER / f"train-{first:08d}-{last:08d}.parquet"
        with replaced_atomically(path) as temporary:
            pyarrow.parquet.write_table(table, temporary)
        return path


def encode_images(images: SparseImages, grid: PatchGrid) -> Iterable[bytes]:
    """Each image as a PNG, its pruned patches black."""
    pixels_BCHW = grid.paste(torch.from_numpy(images.patches_BKCPQ), torch.from_numpy(images.kept_BK), fill=0)
    for pixels_HWC in pixels_BCHW.permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(pixels_HWC).save(buffer, format="PNG")
        yield buffer.getvalue()
