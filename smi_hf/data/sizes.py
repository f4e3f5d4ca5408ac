"""Sizes of a dataset's shards, as `datasets` counts them."""

from collections.abc import Iterable
from pathlib import Path

from smi_hf.data.parquet import read_table


def shard_sizes(shards: Iterable[Path]) -> dict[str, int]:
    """`download_size`, bytes of the files, and `num_bytes`, what `load_dataset` makes of them in memory.

    One shard is read at a time.
    """
    shards = list(shards)
    num_bytes = sum(read_table(path).nbytes for path in shards)
    return {"num_bytes": num_bytes, "download_size": sum(path.stat().st_size for path in shards)}
