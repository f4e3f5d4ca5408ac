"""Writing a sparse dataset: a shard for each finished batch, at once and atomically, and in the end few large ones."""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import torch

from smi_hf.data.merging import (
    MAX_GROUP_ROWS,
    MAX_SHARD_BYTES,
    covered_shards,
    is_whole,
    list_shards,
    list_strangers,
    merge_shards,
    new_parquet,
    plan_merge,
    shard_path,
    shard_range,
)
from smi_hf.data.parquet import READ_ERRORS, read_rows
from smi_hf.data.png import encode_png
from smi_hf.data.record import DatasetRecord
from smi_hf.data.report_file import remove_report
from smi_hf.data.schema import (
    CARD_FILE,
    DATA_FOLDER,
    PREVIEW_FILE,
    RECORD_FILE,
    STAGES_FILE,
    TRAJECTORY_COLUMNS,
    FinishedImages,
)
from smi_hf.errors import UsageError
from smi_hf.files import contents, disk_errors, file_sha256, one_line, remove_temporaries, replaced_atomically
from smi_hf.models.embeddings import HEAD_FILE, EmbeddingHead
from smi_hf.patches import PatchGrid

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 10_000


class SparseDatasetWriter:
    """Writes one dataset folder; several processes may write into it, each its own images.

    Args:
        folder: the dataset folder.
        record: what the dataset is made from; decides whether a folder that exists may be continued.
        head: what made a classifier of the teacher, if it has no classification head; it is written beside the images.
        max_shard_bytes: `merge` makes no larger shards; a single batch is never divided.
    """

    def __init__(
        self,
        folder: Path,
        record: DatasetRecord,
        *,
        head: EmbeddingHead | None = None,
        max_shard_bytes: int = MAX_SHARD_BYTES,
    ) -> None:
        self.folder = folder
        self.record = record
        self.head = head
        self.max_shard_bytes = max_shard_bytes

    def open(self, *, overwrite: bool = False) -> None:
        """Makes the folder ready: new, or continued if it holds the same run unfinished.

        One process calls this, the one that holds the folder's lock (`smi_hf.files.one_writer`) where there may be
        several. Nothing that is not of the dataset is changed or removed.

        Args:
            overwrite: discard the sparse dataset that is there.

        Raises:
            UsageError: the folder holds something else, another run's dataset, or cannot be written.
            RunError: there is no space left.
        """
        with disk_errors(self.folder):
            before = self._check_contents()
            if before is not None and overwrite:
                self._discard(before)
            elif before is not None:
                self._check_continues(before)
            self.folder.mkdir(parents=True, exist_ok=True)
            # The record first: it makes the folder ours, wherever this is cut off.
            if before is None or overwrite or self.record.num_images > before.num_images:
                self.record.save(self.folder)
            if self.head is not None:
                self.head.save(self.folder)
            (self.folder / DATA_FOLDER).mkdir(exist_ok=True)
            for folder in (self.folder, self.folder / DATA_FOLDER):
                remove_temporaries(folder)
            self._remove_damaged_and_doubled()

    def _check_contents(self) -> DatasetRecord | None:
        """The record of the dataset that is there, None if there is nothing."""
        data = self.folder / DATA_FOLDER
        entries = contents(self.folder)
        if data.is_symlink():
            raise UsageError(
                f"{data} is a link, and a run writes nothing outside of its output_dir; put the folder itself there, "
                f"or choose another output_dir"
            )
        if not entries or (entries == [data] and data.is_dir() and not contents(data)):
            return None
        if not (self.folder / RECORD_FILE).is_file():
            raise UsageError(
                f"output_dir {self.folder} is not empty and holds no sparse dataset ({RECORD_FILE}); nothing in it "
                f"was touched, so choose another folder"
            )
        for name in (CARD_FILE, PREVIEW_FILE, STAGES_FILE):
            path = self.folder / name
            if path.exists() and not path.is_file():
                raise UsageError(f"{path} is in the way: a file of the dataset has that name; move it away")
        if data.exists() and not data.is_dir():
            raise UsageError(f"{data} is no folder, but the shards of the dataset are to be in it; move it away")
        before = DatasetRecord.load(self.folder)
        path = self.folder / HEAD_FILE
        if self.head is not None and (before.teacher.head_sha256 is None or path.is_dir()) and os.path.lexists(path):
            raise UsageError(f"{path} is in the way: a file of the dataset has that name; move it away")
        if data.exists() and (
            strangers := list_strangers(self.folder, max(before.num_images, self.record.num_images))
        ):
            raise UsageError(
                f"{strangers[0]} is no shard of the dataset in {self.folder}, but would be read as one; nothing was "
                f"touched, so move it away"
            )
        return before

    def _check_continues(self, before: DatasetRecord) -> None:
        if differences := self.record.differences(before):
            raise UsageError(
                f"output_dir {self.folder} holds a dataset of other settings: {'; '.join(differences)}. Choose "
                f"another folder, use the old settings to continue it, or discard it with --overwrite_output_dir"
            )
        if self.record.num_images > before.num_images:
            # An unfinished dataset has no card. An image depends on its number alone, so those there stay as they are.
            self._remove_card()

    def _discard(self, before: DatasetRecord) -> None:
        # The record stays until it is replaced: without it the folder would be a stranger's if this is cut off.
        self._remove_card()
        replace(before, status="running", results={}).save(self.folder)
        if (self.folder / DATA_FOLDER).is_dir():
            for path in list_shards(self.folder, before.num_images):
                path.unlink()
        own_head = () if before.teacher.head_sha256 is None else (HEAD_FILE,)
        for name in (PREVIEW_FILE, STAGES_FILE, *own_head):
            (self.folder / name).unlink(missing_ok=True)
        ours = {self.folder / RECORD_FILE, self.folder / DATA_FOLDER}
        if kept := [path.name for path in contents(self.folder) if path not in ours]:
            logger.warning("what is not of the dataset stays in %s: %s", self.folder, ", ".join(kept))

    def _remove_card(self) -> None:
        """Removes what says that the dataset is complete; the record says it too."""
        (self.folder / CARD_FILE).unlink(missing_ok=True)
        remove_report(self.folder)

    def _remove_damaged_and_doubled(self) -> None:
        shards = self.shards()
        damaged = [path for path in shards if not is_whole(path)]
        whole = [path for path in shards if path not in damaged]
        # What a merge was killed before removing; counted twice otherwise.
        doubled = covered_shards(whole)
        self._check_rows([path for path in whole if path not in doubled])
        if damaged or doubled:
            # No longer complete, so no card and no record may say that it is.
            self._remove_card()
            self.record.save(self.folder)
        for path in damaged:
            logger.warning("shard %s is damaged; its images are made again", path.name)
        for path in (*damaged, *doubled):
            path.unlink()

    def _check_rows(self, shards: Sequence[Path]) -> None:
        """Checks that shards hold the images of this run that their names say, each image once."""
        end = -1
        for path in shards:
            first, last = shard_range(path)
            if first <= end:
                raise UsageError(
                    f"image {first} is in two shards, {path.name} and the one before it; nothing was touched, so move "
                    f"one of them away"
                )
            end = last
            if first % self.record.num_stages or (last + 1) % self.record.num_stages:
                raise UsageError(
                    f"shard {path} holds part of a trajectory, whose {self.record.num_stages} images are made "
                    f"together; nothing was touched, so move it away"
                )
            if (reason := self._strange_rows(path)) is not None:
                raise UsageError(f"shard {path} is not of this run: {reason}; nothing was touched, so move it away")

    def _strange_rows(self, path: Path) -> str | None:
        """What the rows of a shard are that its name does not say, None if they are as they should be."""
        expected, _ = shard_range(path)
        seed = self.record.settings["seed"]
        try:
            for rows in read_rows(path, columns=["image_index", "seed"], batch_size=_ROWS_AT_ONCE):
                indices, seeds = rows["image_index"].to_numpy(zero_copy_only=False), rows["seed"].to_pylist()
                if not np.array_equal(indices, np.arange(expected, expected + len(rows))):
                    return "its images are not those that its name says"
                if set(seeds) != {seed}:
                    return f"its images have seed {next(each for each in seeds if each != seed)}, and not {seed}"
                expected += len(rows)
        except READ_ERRORS as error:
            return one_line(error)
        return None

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
        schema = self.record.features.arrow_schema
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
        return list_shards(self.folder, self.record.num_images)

    def write(self, images: FinishedImages) -> Path:
        """Writes one shard and returns its path.

        Args:
            images: with consecutive image indices.

        Raises:
            OSError: the file system refuses, for instance for lack of space; no half shard is left.
        """
        first, last = images.image_indices[0], images.image_indices[-1]
        assert images.image_indices == tuple(range(first, last + 1)), "a shard holds consecutive images"
        count = len(images.image_indices)
        table = pyarrow.Table.from_pydict(
            {
                "image": [{"bytes": png, "path": None} for png in encode_images(images, self.record.grid)],
                "label": list(map(int, images.labels)),
                "kept_patches": list(images.kept_BK.astype(np.int16)),
                "image_index": list(images.image_indices),
                "seed": [images.seed] * count,
                "target_probability": images.target_probability_B.astype(np.float32),
                "steps": np.broadcast_to(images.steps, count).tolist(),
                **self._trajectory_columns(np.array(images.image_indices)),
            },
            schema=self.record.features.arrow_schema,
        )
        path = shard_path(self.folder, first, last)
        with replaced_atomically(path) as temporary, new_parquet(temporary, table.schema) as parquet:
            parquet.write_table(table, row_group_size=MAX_GROUP_ROWS)
        return path

    def _trajectory_columns(self, image_indices: np.ndarray) -> dict[str, np.ndarray]:
        num_stages = self.record.num_stages
        if num_stages == 1:
            return {}
        return dict(zip(TRAJECTORY_COLUMNS, np.divmod(image_indices, num_stages)))


def encode_images(images: FinishedImages, grid: PatchGrid) -> Iterable[bytes]:
    """Each image as a PNG, its pruned patches black."""
    pixels_BCHW = grid.paste(torch.from_numpy(images.patches_BKCPQ), torch.from_numpy(images.kept_BK), fill=0)
    for pixels_HWC in pixels_BCHW.permute(0, 2, 3, 1).numpy():
        yield encode_png(pixels_HWC)
