"""Many small shards into few large ones, a row group at a time, so that memory does not grow with the images.

A run writes a shard for each batch, which resuming needs. Thousands of small files are slow to open and to upload, so
a finished run packs them. A shard's name says which images it holds: whoever finds a shard whose images another one
holds as well has found what a killed merge left behind.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from smi_hf.data.parquet import LOCAL_FILES, READ_ERRORS, read_metadata, read_rows
from smi_hf.data.schema import DATA_FOLDER
from smi_hf.errors import RunError
from smi_hf.files import one_line, replaced_atomically

# As `datasets` writes it.
MAX_SHARD_BYTES = 500_000_000
# A row group is what a reader fetches to see one row, and what is in memory here.
MAX_GROUP_ROWS = 256
MAX_GROUP_BYTES = 64 << 20
_ROWS_AT_ONCE = 32

_SHARD_NAME = re.compile(r"train-(\d+)-(\d+)\.parquet")


def shard_path(folder: Path, first: int, last: int) -> Path:
    """Where the shard of images `first` to `last` of a dataset folder stands."""
    return folder / DATA_FOLDER / f"train-{first:08d}-{last:08d}.parquet"


def shard_range(path: Path) -> tuple[int, int]:
    """First and last image of a shard, from its name."""
    first, last = _SHARD_NAME.fullmatch(path.name).groups()
    return int(first), int(last)


def list_shards(folder: Path, num_images: int | None = None) -> list[Path]:
    """The shards of a dataset folder, in order of their images.

    Args:
        num_images: of the dataset, any if None; a file of another name than its shards can have is not ours.
    """
    found = [path for path in (folder / DATA_FOLDER).iterdir() if _is_shard(path, num_images)]
    return sorted(found, key=shard_range)


def _is_shard(path: Path, num_images: int | None) -> bool:
    if _SHARD_NAME.fullmatch(path.name) is None or not path.is_file():
        return False
    first, last = shard_range(path)
    is_within = first <= last and (num_images is None or last < num_images)
    return is_within and path.name == shard_path(Path(), first, last).name


def list_strangers(folder: Path, num_images: int) -> list[Path]:
    """What would be read with the shards of a dataset folder, as its name ends in .parquet, but is none of them."""
    shards = list_shards(folder, num_images)
    return sorted(path for path in (folder / DATA_FOLDER).glob("*.parquet") if path not in shards)


def is_whole(path: Path) -> bool:
    """Whether a shard can be opened and holds as many images as its name says."""
    first, last = shard_range(path)
    try:
        return read_metadata(path).num_rows == last - first + 1
    except READ_ERRORS:
        return False


def covered_shards(shards: Sequence[Path]) -> list[Path]:
    """Those of whole shards whose images another one holds too: leftovers of a merge that was killed."""
    covered, end = [], -1
    # Of shards that start together the largest comes first.
    for path in sorted(shards, key=lambda path: (shard_range(path)[0], -shard_range(path)[1])):
        last = shard_range(path)[1]
        if last <= end:
            covered.append(path)
        end = max(end, last)
    return covered


def plan_merge(shards: Sequence[Path], max_shard_bytes: int) -> list[list[Path]]:
    """Which neighbouring shards to merge into one of at most `max_shard_bytes`, in order.

    A shard that is at least half full is left as it is, so a dataset that grows does not rewrite what it has.
    """
    packs: list[list[Path]] = []
    pack: list[Path] = []
    size = 0
    for path in shards:
        data = _data_bytes(path)
        is_next = bool(pack) and shard_range(pack[-1])[1] + 1 == shard_range(path)[0]
        if not is_next or size + data > max_shard_bytes or 2 * data >= max_shard_bytes:
            packs.append(pack)
            pack, size = [], 0
        if 2 * data < max_shard_bytes:
            pack.append(path)
            size += data
    packs.append(pack)
    return [pack for pack in packs if len(pack) > 1]


def merge_shards(folder: Path, shards: Sequence[Path], schema: pyarrow.Schema) -> Path:
    """Writes neighbouring shards as one and removes them. Killed at any moment, it leaves every image on disk.

    Args:
        folder: the dataset folder.
        schema: columns and types, with the features that `datasets` reads from its metadata.

    Returns:
        The new shard.

    Raises:
        OSError: the file system refuses, for instance for lack of space; the shards are still there.
        RunError: a shard cannot be read.
    """
    path = shard_path(folder, shard_range(shards[0])[0], shard_range(shards[-1])[1])
    with replaced_atomically(path) as temporary, new_parquet(temporary, schema) as parquet:
        for group in _row_groups(shards, schema):
            parquet.write_table(group)
    for shard in shards:
        shard.unlink()
    return path


def new_parquet(path: Path, schema: pyarrow.Schema) -> pyarrow.parquet.ParquetWriter:
    """A parquet file to write row groups to, laid out as the Hub likes it.

    Pages are cut where the content says so: a dataset that grew uploads what is new. The page index lets the Hub's
    viewer fetch single rows, and checksums tell a damaged page from pixels.
    """
    return pyarrow.parquet.ParquetWriter(
        str(path),
        schema,
        filesystem=LOCAL_FILES,
        use_content_defined_chunking=True,
        write_page_index=True,
        write_page_checksum=True,
    )


def _data_bytes(path: Path) -> int:
    """Bytes of a shard's columns. Its footer names every label, and may be longer than a small batch."""
    metadata = read_metadata(path)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return sum(group.column(number).total_compressed_size for group in groups for number in range(group.num_columns))


def _row_groups(shards: Sequence[Path], schema: pyarrow.Schema) -> Iterator[pyarrow.Table]:
    """The rows of shards in tables small enough to be a row group each."""
    waiting: list[pyarrow.RecordBatch] = []
    num_rows = num_bytes = 0
    for path in shards:
        for rows in _read(path):
            if waiting and (num_rows + len(rows) > MAX_GROUP_ROWS or num_bytes + rows.nbytes > MAX_GROUP_BYTES):
                yield pyarrow.Table.from_batches(waiting).cast(schema)
                waiting, num_rows, num_bytes = [], 0, 0
            waiting.append(rows)
            num_rows += len(rows)
            num_bytes += rows.nbytes
    yield pyarrow.Table.from_batches(waiting).cast(schema)


def _read(path: Path) -> Iterator[pyarrow.RecordBatch]:
    try:
        yield from read_rows(path, batch_size=_ROWS_AT_ONCE)
    except READ_ERRORS as error:
        raise RunError(
            f"shard {path} cannot be read ({one_line(error)}); remove it and run the same command again, which "
            f"makes its images again"
        ) from error
