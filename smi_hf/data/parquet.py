"""Parquet files as a dataset of `datasets`, whatever characters are in their names.

`load_dataset` takes every path for a pattern: given `exp[1]` it reads `exp1`, and `a::b` is a chain of file systems.
Here files are opened one by one, and what fits into memory needs no cache.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.fs
import pyarrow.parquet

from smi_hf.errors import UsageError
from smi_hf.files import one_line, replaced_atomically

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

# Beyond this, rows are kept in the cache of `datasets` and mapped into memory.
_MAX_BYTES_IN_MEMORY = 1 << 30
_ROWS_AT_ONCE = 64
# pyarrow says OSError for what it cannot decode, too; the others come from damaged metadata about features.
READ_ERRORS = (pyarrow.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError)
# Without it, pyarrow would look for an address such as s3:... in a path.
LOCAL_FILES = pyarrow.fs.LocalFileSystem()


def read_metadata(path: Path) -> pyarrow.parquet.FileMetaData:
    """The footer of a parquet file; raises what is in `READ_ERRORS`."""
    return pyarrow.parquet.read_metadata(str(path), filesystem=LOCAL_FILES)


def read_rows(
    path: Path, *, columns: Sequence[str] | None = None, batch_size: int = _ROWS_AT_ONCE
) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a parquet file, some at a time; raises what is in `READ_ERRORS`, for damaged pages as well."""
    # An open file, as folder names such as seed=0 would be taken for columns.
    with open(path, "rb") as source, pyarrow.parquet.ParquetFile(source, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=batch_size, columns=columns)


def read_table(path: Path) -> pyarrow.Table:
    """All rows of a parquet file; raises what is in `READ_ERRORS`."""
    with open(path, "rb") as source, pyarrow.parquet.ParquetFile(source, page_checksum_verification=True) as file:
        return file.read()


def open_parquet(
    files: Sequence[str | Path], *, streaming: bool = False, split: str = "train"
) -> "Dataset | IterableDataset":
    """The rows of parquet files, in order.

    Args:
        files: at least one, all with the columns of the first.
        streaming: give rows as they are read. Otherwise they are all in memory, or from 1 GiB on in the cache of
            `datasets`.
        split: what the dataset says that it is.

    Raises:
        UsageError: a file cannot be read or has other columns, or a large dataset finds no room in the cache. Of a
            streamed dataset what is wrong with rows comes from the loop over them.
    """
    from datasets import Dataset, DatasetInfo, IterableDataset, NamedSplit
    from datasets.iterable_dataset import ArrowExamplesIterable

    paths = list(map(str, files))
    features = _features(paths[0])
    info = DatasetInfo(features=features, builder_name="parquet")
    if streaming:
        # One file is one shard, so that workers of a DataLoader divide them among themselves.
        rows = ArrowExamplesIterable(_keyed_tables, {"files": paths, "features": features})
        return IterableDataset(rows, info=info, split=NamedSplit(split))
    fingerprint = _fingerprint(paths)
    if sum(map(_num_bytes, paths)) > _MAX_BYTES_IN_MEMORY:
        file = _cached(paths, features, fingerprint)
        dataset = Dataset.from_file(str(file), info=info, split=NamedSplit(split))
    else:
        tables = list(_tables(paths, features))
        table = pyarrow.concat_tables(tables) if tables else features.arrow_schema.empty_table()
        dataset = Dataset(table, info=info, split=NamedSplit(split), fingerprint=fingerprint)
    return dataset


def _features(path: str) -> "Features":
    """Columns and types, as `datasets` notes them in a file, else as the file has them."""
    from datasets import Features

    try:
        return Features.from_arrow_schema(read_metadata(Path(path)).schema.to_arrow_schema())
    except READ_ERRORS as error:
        raise _unreadable(path, error) from error


def _num_bytes(path: str) -> int:
    try:
        metadata = read_metadata(Path(path))
    except READ_ERRORS as error:
        raise _unreadable(path, error) from error
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


def _tables(files: Sequence[str], features: "Features") -> Iterator[pyarrow.Table]:
    from datasets.table import table_cast

    for path in files:
        try:
            for rows in read_rows(Path(path)):
                if set(rows.schema.names) != set(features):
                    raise ValueError(f"it has columns {', '.join(rows.schema.names)} instead of {', '.join(features)}")
                yield table_cast(pyarrow.Table.from_batches([rows]), features.arrow_schema)
        except READ_ERRORS as error:
            raise _unreadable(path, error) from error


def _keyed_tables(files: Sequence[str], features: "Features") -> Iterator[tuple[Any, pyarrow.Table]]:
    for number, table in enumerate(_tables(files, features)):
        yield (0, number), table


def _cached(files: Sequence[str], features: "Features", fingerprint: str) -> Path:
    """All rows as one Arrow file in the cache of `datasets`."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE) / "smi_hf"
    file = folder / f"{fingerprint}.arrow"
    if file.is_file():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            replaced_atomically(file) as temporary,
            pyarrow.OSFile(str(temporary), "wb") as sink,
            pyarrow.ipc.new_stream(sink, features.arrow_schema) as stream,
        ):
            for table in _tables(files, features):
                stream.write_table(table)
    except OSError as error:
        raise UsageError(
            f"the cache of datasets, {folder}, cannot be written ({one_line(error)}); make room, or set "
            f"HF_DATASETS_CACHE to a folder that has some"
        ) from error
    return file


def _fingerprint(files: Sequence[str]) -> str:
    """Differs where the files do, as far as their sizes and times tell."""
    digest = hashlib.sha256()
    for path in files:
        status = os.stat(path)
        digest.update(f"{os.path.abspath(path)!r} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _unreadable(path: str, error: BaseException) -> UsageError:
    return UsageError(f"{path} cannot be read: {one_line(error)}")
