"""Sizes of shards, as `datasets` counts them by itself."""

from datasets import load_dataset

from smi_hf.data.sizes import shard_sizes


def test_sizes_are_those_that_datasets_counts(dataset_folder):
    shards = sorted((dataset_folder / "data").iterdir())
    split = load_dataset("parquet", data_files=[str(path) for path in shards], split="train").info.splits["train"]
    sizes = shard_sizes(shards)
    assert sizes == {"num_bytes": split.num_bytes, "download_size": sum(len(path.read_bytes()) for path in shards)}


def test_sizes_add_up_over_shards_however_they_are_given(dataset_folder):
    shards = sorted((dataset_folder / "data").iterdir())
    parts = [shard_sizes([path]) for path in shards]
    assert len(parts) == 2 and all(min(part.values()) > 0 for part in parts)
    # An iterator can be passed once.
    assert shard_sizes(iter(shards)) == {name: sum(part[name] for part in parts) for name in parts[0]}
    assert shard_sizes([]) == {"num_bytes": 0, "download_size": 0}
