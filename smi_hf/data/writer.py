"""Writing a sparse dataset: a shard for each finished batch, at once and atomically, and in the end few large ones."""

import errno
import hashlib
import io
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow
import torch
from PIL import Image

from smi_hf.data.merging import (
    MAX_GROUP_ROWS,
    MAX_SHARD_BYTES,
    covered_shards,
    is_whole,
    list_shards,
    merge_shards,
    new_parquet,
    plan_merge,
    shard_path,
    shard_range,
)
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import (
    CARD_FILE,
    DATA_FOLDER,
    PREVIEW_FILE,
    RECORD_FILE,
    STAGES_FILE,
    FinishedImages,
    dataset_features,
)
from smi_hf.errors import UsageError
from smi_hf.files import file_sha256, remove_temporaries, replaced_atomically
from smi_hf.patches import PatchGrid

logger = logging.getLogger(__name__)

_READ_ONLY_ERRORS = frozenset({errno.EROFS, errno.ENAMETOOLONG})


class SparseDatasetWriter:
    """Writes one dataset folder; several processes may write into it, each its own images.

    Args:
        folder: the dataset folder.
        record: what the dataset is made from; decides whether a folder that exists may be continued.
        max_shard_bytes: `merge` makes no larger shards; a single batch is never divided.
    """

    def __init__(self, folder: Path, record: DatasetRecord, *, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        self.folder = folder
        self.record = record
        self.max_shard_bytes = max_shard_bytes

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
            self._remove_damaged_and_doubled()
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

    def _remove_damaged_and_doubled(self) -> None:
        shards = self.shards()
        damaged = [path for path in shards if not is_whole(path)]
        if damaged:
            # No longer complete, so no card and no record may say that it is.
            (self.folder / CARD_FILE).unlink(missing_ok=True)
            self.record.save(self.folder)
        for path in damaged:
            logger.warning("shard %s is damaged; its images are made again", path.name)
            path.unlink()
        # What a merge was killed before removing; counted twice otherwise.
        for path in covered_shards([path for path in shards if path not in damaged]):
            path.unlink()

    def finished_images(self) -> set[int]:
        """Which images of the run are on disk, in shards that can be opened."""
        finished: set[int] = set()
        for path in self.shards():
            if is_whole(path):
                first, last = shard_range(path)
                finished.update(range(first, last + 1))
        return finished

    def merge(self) -> None:
        """Merges small shards into shards of at most about `max_shard_bytes`, once all images are there.

        One process calls this. Memory does not grow with the images, and every image is on disk at any moment; what a
        kill leaves twice `open` removes. Shards that are half full or more stay as they are.

        Raises:
            OSError: the file system refuses, for instance for lack of space; nothing is lost.
            RunError: a shard cannot be read.
        """
        schema = dataset_features(self.record.label_names).arrow_schema
        for shards in plan_merge(self.shards(), self.max_shard_bytes):
            merge_shards(self.folder, shards, schema)

    def content_sha256(self) -> str:
        """A digest of all shards; memory does not grow with them."""
        digest = hashlib.sha256()
        for path in self.shards():
            digest.update(bytes.fromhex(file_sha256(path)))
        return digest.hexdigest()

    def shards(self) -> list[Path]:
        """The shards on disk, in order of their images."""
        return list_shards(self.folder)

    def write(self, images: FinishedImages) -> Path:
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
        path = shard_path(self.folder, first, last)
        with replaced_atomically(path) as temporary, new_parquet(temporary, table.schema) as parquet:
            parquet.write_table(table, row_group_size=MAX_GROUP_ROWS)
        return path


def encode_images(images: FinishedImages, grid: PatchGrid) -> Iterable[bytes]:
    """Each image as a PNG, its pruned patches black."""
    pixels_BCHW = grid.paste(torch.from_numpy(images.patches_BKCPQ), torch.from_numpy(images.kept_BK), fill=0)
    for pixels_HWC in pixels_BCHW.permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(pixels_HWC).save(buffer, format="PNG")
        yield buffer.getvalue()
