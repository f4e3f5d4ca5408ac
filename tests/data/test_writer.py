"""What is written is read back bit by bit, and of what others left in a dataset folder nothing is changed."""

import json
import logging
import os
from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import load_dataset

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.data import DatasetRecord
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.files import LOCK_FILE


def snapshot(folder):
    """Every file below a folder with what it holds, and links with what they say."""
    return {
        path.relative_to(folder): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def refused(folder, record, message, **options):
    """Checks that a run in the folder is refused, and that it touched nothing."""
    before = snapshot(folder)
    with pytest.raises(UsageError, match=message) as caught:
        SparseDatasetWriter(folder, record).open(**options)
    assert "\n" not in str(caught.value)
    assert snapshot(folder) == before


STRANGERS = [
    "train-5-3.parquet",
    "train-00000003-00000002.parquet",
    "train-0-1.parquet",
    "train-00000002-00000099.parquet",
    "train-00000000-of-00000001.parquet",
    "mine.parquet",
]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", STRANGERS)
def test_a_file_that_is_no_shard_of_the_run_is_never_deleted(dataset_folder, record, name, overwrite):
    (dataset_folder / "data" / name).write_bytes(b"years of work")
    message = f"{name} is no shard of the dataset in .*, but would be read as one; nothing was touched"
    refused(dataset_folder, record, message, overwrite=overwrite)


def test_a_folder_or_a_link_in_the_place_of_a_shard_is_left_alone(dataset_folder, record):
    shard = dataset_folder / "data" / "train-00000002-00000003.parquet"
    shard.unlink()
    shard.mkdir()
    (shard / "thesis.txt").write_text("years of work")
    refused(dataset_folder, record, "is no shard of the dataset")
    (shard / "thesis.txt").unlink()
    shard.rmdir()
    shard.symlink_to("nowhere")
    refused(dataset_folder, record, "is no shard of the dataset", overwrite=True)


def test_a_shard_of_another_run_is_refused_not_counted_and_not_deleted(dataset_folder, record, images):
    shard = dataset_folder / "data" / "train-00000002-00000003.parquet"
    table = pyarrow.parquet.read_table(shard)
    seeds = pyarrow.array([7, 8], pyarrow.int64())
    other = table.set_column(table.schema.get_field_index("seed"), table.schema.field("seed"), seeds)
    pyarrow.parquet.write_table(other, shard)
    refused(dataset_folder, record, "is not of this run: its images have seed 8, and not 7; nothing was touched")
    pyarrow.parquet.write_table(table.take([1, 0]), shard)
    refused(dataset_folder, record, "is not of this run: its images are not those that its name says")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"]}), shard)
    refused(dataset_folder, record, "is not of this run")


def test_shards_that_overlap_are_refused(dataset_folder, record, images):
    writer = SparseDatasetWriter(dataset_folder, record)
    writer.write(images(1, count=2))
    refused(dataset_folder, record, "image 1 is in two shards, train-00000001-00000002.parquet and the one before it")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_linked_data_folder_is_refused(dataset_folder, record, tmp_path, overwrite):
    (dataset_folder / "data").rename(tmp_path / "elsewhere")
    (dataset_folder / "data").symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path / "elsewhere")
    refused(dataset_folder, record, "data is a link, and a run writes nothing outside", overwrite=overwrite)
    assert snapshot(tmp_path / "elsewhere") == before


def test_the_dataset_folder_itself_may_be_a_link(record, images, tmp_path):
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "large-disk")
    writer = SparseDatasetWriter(tmp_path / "set", record)
    writer.open()
    writer.write(images(0))
    SparseDatasetWriter(tmp_path / "set", record).open(overwrite=True)
    assert (tmp_path / "set").is_symlink()
    assert SparseDatasetWriter(tmp_path / "large-disk", record).finished_images() == set()


def test_discarding_removes_the_files_of_the_dataset_and_says_what_stays(dataset_folder, record, caplog):
    strangers = {dataset_folder / "thesis.txt", dataset_folder / "notes", dataset_folder / "data" / "notes.txt"}
    (dataset_folder / "notes").mkdir()
    (dataset_folder / "thesis.txt").write_text("years of work")
    (dataset_folder / "data" / "notes.txt").write_text("mine")
    other = replace(record, settings=record.settings | {"seed": 9, "num_images": 2})
    with caplog.at_level(logging.WARNING):
        SparseDatasetWriter(dataset_folder, other).open(overwrite=True)
    assert "what is not of the dataset stays in" in caplog.text
    assert "notes, thesis.txt" in caplog.text
    record_file, data = dataset_folder / "smi.json", dataset_folder / "data"
    assert set(dataset_folder.rglob("*")) == strangers | {record_file, data}
    assert DatasetRecord.load(dataset_folder).settings["seed"] == 9


def test_a_strangers_smi_json_is_not_discarded(record, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "smi.json").write_text('{"driver": "470.57"}')
    for overwrite in (False, True):
        refused(tmp_path / "set", record, "is not a record of a sparse dataset", overwrite=overwrite)


@pytest.mark.parametrize("leftovers", [[LOCK_FILE], [".smi.json.4242.incomplete", LOCK_FILE], ["data/"]])
def test_a_run_that_was_killed_at_its_first_writes_is_no_stranger(record, images, tmp_path, leftovers):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in leftovers:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_text("half")
    SparseDatasetWriter(folder, record).open()
    assert {path.name for path in folder.iterdir()} - {LOCK_FILE} == {"smi.json", "data"}


def test_what_others_left_is_a_stranger_however_it_is_called(record, tmp_path):
    for name in (".git", "data/photo.png", "README.md", ".notes.incomplete"):
        path = tmp_path / name.replace("/", "-") / name
        path.parent.mkdir(parents=True)
        path.write_text("years of work")
        refused(tmp_path / name.replace("/", "-"), record, "is not empty and holds no sparse dataset")


@pytest.mark.parametrize("name", ["README.md", "preview.png", "preview_stages.png"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_first_step(dataset_folder, record, name):
    (dataset_folder / name).unlink(missing_ok=True)
    (dataset_folder / name).mkdir()
    refused(dataset_folder, record, f"{name} is in the way: a file of the dataset has that name")


def test_data_that_is_a_file_is_refused(dataset_folder, record):
    for path in (dataset_folder / "data").iterdir():
        path.unlink()
    (dataset_folder / "data").rmdir()
    (dataset_folder / "data").write_text("years of work")
    refused(dataset_folder, record, "data is no folder, but the shards of the dataset are to be in it")
    with pytest.raises(UsageError, match="cannot be read: it has no shard in data/"):
        load_sparse_dataset(dataset_folder)


def test_leftovers_that_are_removed_make_a_dataset_incomplete_and_not_its_digest_wrong(dataset_folder, record, images):
    writer = SparseDatasetWriter(dataset_folder, record)
    writer.merge()
    writer.write(images(0))
    stale = replace(record, settings=record.settings).completed(
        DatasetRecord.load(dataset_folder).results | {"content_sha256": writer.content_sha256()}
    )
    stale.save(dataset_folder)
    SparseDatasetWriter(dataset_folder, record).open()
    assert [path.name for path in writer.shards()] == ["train-00000000-00000003.parquet"]
    assert DatasetRecord.load(dataset_folder).status == "running"


def test_a_batch_size_is_no_reason_to_refuse_an_old_dataset(dataset_folder, record):
    old = replace(record, settings=record.settings | {"batch_size": 32})
    assert record.differences(old) == old.differences(record) == []
    values = json.loads((dataset_folder / "smi.json").read_text())
    values["settings"]["batch_size"] = 32
    (dataset_folder / "smi.json").write_text(json.dumps(values))
    SparseDatasetWriter(dataset_folder, record).open()
    assert DatasetRecord.load(dataset_folder).status == "complete"


def test_every_pixel_label_and_kept_patch_is_read_back_bit_by_bit(dataset_folder, record, images):
    dataset = load_dataset(str(dataset_folder), split="train")
    assert dataset["image_index"][:] == [0, 1, 2, 3]
    for first in (0, 2):
        written = images(first)
        for offset in range(2):
            row = dataset[first + offset]
            assert row["kept_patches"] == written.kept_BK[offset].tolist()
            assert (row["label"], row["seed"], row["steps"]) == (written.labels[offset], 7, 10)
            assert row["target_probability"] == pytest.approx(written.target_probability_B[offset], abs=1e-7)
            pixels = torch.from_numpy(np.array(row["image"])).permute(2, 0, 1)[None]
            kept = torch.from_numpy(written.kept_BK[offset])[None]
            assert np.array_equal(record.grid.cut(pixels, kept)[0].numpy(), written.patches_BKCPQ[offset])


def test_the_writer_survives_leftovers_of_a_killed_process(record, images, tmp_path):
    writer = SparseDatasetWriter(tmp_path / "dataset", record)
    writer.open()
    writer.write(images(0))
    leftover = tmp_path / "dataset" / "data" / ".train-00000002-00000003.parquet.4242.incomplete"
    leftover.write_bytes(b"half")
    assert writer.finished_images() == {0, 1}
    SparseDatasetWriter(tmp_path / "dataset", record).open()
    assert not leftover.exists()


def test_trajectories_are_written_merged_and_read_back_with_their_columns(trajectories):
    dataset = trajectories.dataset
    assert dataset.features == trajectories.record.features
    assert (dataset["trajectory"][:], dataset["stage"][:]) == ([0, 0, 1, 1], [0, 1, 0, 1])
    assert dataset["steps"][:] == [5, 10, 5, 10]
    assert (str(dataset.features["trajectory"].dtype), str(dataset.features["stage"].dtype)) == ("int64", "int16")
