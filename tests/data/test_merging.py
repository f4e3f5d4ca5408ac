"""Small shards become few large ones, whenever the process is killed, and nothing that is read changes."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import load_dataset

from smi_hf.data.merging import MAX_GROUP_ROWS, is_whole, shard_range
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.errors import RunError

NUM_IMAGES = 12
# About three batches of two images.
SMALL = 7_000


@pytest.fixture
def write(record, images, tmp_path):
    """Writes images in batches of two into a folder of that name; returns its writer."""

    def make(name, first=0, last=NUM_IMAGES, max_shard_bytes=SMALL):
        settings = record.settings | {"num_images": last}
        writer = SparseDatasetWriter(
            tmp_path / name, replace(record, settings=settings), max_shard_bytes=max_shard_bytes
        )
        writer.open()
        for start in range(first, last, 2):
            writer.write(images(start))
        return writer

    return make


def ranges(writer):
    return [path.stem[6:] for path in writer.shards()]


def contents(writer):
    """Rows in order, images as the bytes of their PNGs."""
    return pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in writer.shards()]).to_pylist()


def test_a_merged_dataset_is_read_bit_by_bit_as_before(write):
    writer = write("set")
    before = contents(writer)
    writer.merge()
    assert 1 < len(writer.shards()) <= 4
    assert contents(writer) == before
    assert writer.finished_images() == set(range(NUM_IMAGES))
    dataset = load_dataset("parquet", data_files=list(map(str, writer.shards())), split="train")
    assert dataset["image_index"][:] == list(range(NUM_IMAGES))
    assert dataset.features["label"].names == ["crane (0)", "dog", "crane (2)"]


def test_shards_are_bounded_and_row_groups_small(write):
    writer = write("set", last=700, max_shard_bytes=10**9)
    writer.merge()
    assert ranges(writer) == ["00000000-00000699"]
    metadata = pyarrow.parquet.read_metadata(writer.shards()[0])
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sizes == [MAX_GROUP_ROWS, MAX_GROUP_ROWS, 700 - 2 * MAX_GROUP_ROWS]

    writer = write("bounded", last=100, max_shard_bytes=20_000)
    writer.merge()
    metadata = [pyarrow.parquet.read_metadata(path) for path in writer.shards()]
    data = [
        sum(shard.row_group(0).column(c).total_compressed_size for c in range(shard.num_columns)) for shard in metadata
    ]
    assert max(data) <= 20_000
    assert min(data[:-1]) >= 10_000


def test_merging_again_changes_nothing(write):
    writer = write("set")
    writer.merge()
    files = {path: path.stat().st_mtime_ns for path in writer.shards()}
    writer.merge()
    assert {path: path.stat().st_mtime_ns for path in writer.shards()} == files


def test_a_dataset_that_grows_keeps_its_full_shards(write):
    writer = write("set")
    writer.merge()
    full = {path: path.stat().st_mtime_ns for path in writer.shards()[:-1]}
    grown = write("set", first=NUM_IMAGES, last=30)
    grown.merge()
    assert {path: path.stat().st_mtime_ns for path in grown.shards() if path in full} == full
    assert [row["image_index"] for row in contents(grown)] == list(range(30))
    once = write("once", last=30)
    once.merge()
    assert contents(grown) == contents(once)


class Killed(BaseException):
    """The process is gone."""


class Killer:
    """Lets a number of changes to the disk happen and then none, not even those of error handling."""

    def __init__(self, monkeypatch, num_steps):
        self.left = num_steps
        for owner, name in (
            (pyarrow.parquet.ParquetWriter, "__init__"),
            (pyarrow.parquet.ParquetWriter, "write_table"),
            (os, "replace"),
            (Path, "unlink"),
        ):
            monkeypatch.setattr(owner, name, self.step(getattr(owner, name)))

    def step(self, change):
        def counted(*args, **kwargs):
            self.left -= 1
            if self.left < 0:
                raise Killed
            return change(*args, **kwargs)

        return counted


def test_a_merge_that_is_killed_at_any_step_is_taken_up_again(write, monkeypatch):
    whole = write("whole")
    before = contents(whole)
    whole.merge()
    num_steps = 0
    while True:
        writer = write(f"killed-{num_steps}")
        with monkeypatch.context() as patches:
            killer = Killer(patches, num_steps)
            try:
                writer.merge()
                break
            except Killed:
                assert killer.left < 0
        # Every image is there at this moment, some perhaps twice.
        assert writer.finished_images() == set(range(NUM_IMAGES))
        writer.open()
        assert contents(writer) == before
        writer.merge()
        assert ranges(writer) == ranges(whole)
        assert writer.content_sha256() == whole.content_sha256()
        assert {path.name for path in (writer.folder / "data").iterdir()} == {p.name for p in writer.shards()}
        num_steps += 1
    # Three to write each merged shard, and one to remove each small one.
    merged = [path for path in whole.shards() if shard_range(path)[1] - shard_range(path)[0] > 1]
    assert len(merged) >= 2
    assert num_steps == 3 * len(merged) + NUM_IMAGES // 2 - (len(whole.shards()) - len(merged))


def test_a_full_disk_loses_nothing(write, monkeypatch):
    writer = write("set")
    before = contents(writer)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patches:
        patches.setattr(pyarrow.parquet.ParquetWriter, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            writer.merge()
    assert contents(writer) == before
    assert list((writer.folder / "data").glob(".*")) == []


def test_a_large_shard_that_is_damaged_does_not_cost_the_small_ones(write):
    writer = write("set", max_shard_bytes=10**9)
    small = {path.name: path.read_bytes() for path in writer.shards()}
    writer.merge()
    (large,) = writer.shards()
    for name, shard in small.items():
        large.with_name(name).write_bytes(shard)
    large.write_bytes(large.read_bytes()[:-20])
    writer.open()
    assert {path.name for path in writer.shards()} == set(small)
    assert writer.finished_images() == set(range(NUM_IMAGES))


def test_a_shard_whose_pages_are_damaged_is_named(write):
    writer = write("set")
    shard = writer.shards()[1]
    damaged = bytearray(shard.read_bytes())
    # A pixel, far from every header: the checksum alone knows.
    damaged[damaged.index(b"IDAT") + 40] ^= 1
    shard.write_bytes(damaged)
    assert is_whole(shard)
    with pytest.raises(
        RunError, match=rf"shard \S*{shard.name} cannot be read .*; remove it and run the same command"
    ):
        writer.merge()
    assert len(writer.shards()) == NUM_IMAGES // 2


def test_a_dataset_with_a_damaged_shard_is_complete_no_longer(dataset_folder, record):
    shard = sorted((dataset_folder / "data").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:100])
    SparseDatasetWriter(dataset_folder, record).open()
    assert not (dataset_folder / "README.md").exists()
    assert not shard.exists()
    assert '"status": "running"' in (dataset_folder / "smi.json").read_text()
