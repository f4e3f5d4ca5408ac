"""`invert`: the folder that was named, a run that goes on, and one sentence for what cannot be."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest

from smi_hf import RunError, SparseInversionCallback, SparseInversionTrainer, UsageError, invert


@pytest.mark.parametrize("name", ["run[seed=0]", "a::b", "run*", "what?", 'it\'s "x"'])
def test_a_folder_of_any_name_is_read_back_as_it_was_written(teacher, config, tmp_path, name):
    args = config(output_dir=str(tmp_path / name), num_images=2)
    trainer = SparseInversionTrainer(teacher, args)
    assert trainer.train()["image_index"][:] == [0, 1]
    assert trainer.record.status == "complete"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_the_folder_that_one_stands_in_may_be_the_dataset(teacher, config, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(invert(teacher, config(output_dir=".", num_images=2, report_to=["tensorboard"]))) == 2
    assert (tmp_path / "here" / "smi.json").is_file()
    assert (tmp_path / "here-logs").is_dir()


def test_no_cache_is_needed_to_read_the_result(teacher, config, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    assert len(invert(teacher, config(num_images=2))) == 2


def test_more_patches_than_a_dataset_can_number_are_refused_before_the_first_step(teacher, config):
    teacher.model.grid = replace(teacher.model.grid, image_height=1456, image_width=1456)
    with pytest.raises(UsageError, match="the grid has 33124 patches, but a dataset can number 32768 at most"):
        SparseInversionTrainer(teacher, config())


class StopAfterOne(SparseInversionCallback):
    def on_batch_end(self, run, images):
        raise KeyboardInterrupt


def test_a_run_goes_on_with_another_batch_size(teacher, config, rows, tmp_path):
    whole = config(output_dir=str(tmp_path / "whole"), num_images=6, batch_size=1)
    SparseInversionTrainer(teacher, whole).train()
    args = config(num_images=6, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        SparseInversionTrainer(teacher, args, callbacks=[StopAfterOne()]).train()
    trainer = SparseInversionTrainer(teacher, config(num_images=6, batch_size=1))
    trainer.train()
    assert trainer.record.results["num_images_this_session"] == 2
    expected, got = rows(whole.output_dir), rows(args.output_dir)
    assert sorted(got) == list(range(6))
    # Images 4 and 5 were made one by one in both; the others alike, except for rounding.
    assert all(got[index] == expected[index] for index in (4, 5))
    assert all(got[index]["label"] == expected[index]["label"] for index in got)
    assert np.mean([got[index]["kept_patches"] == expected[index]["kept_patches"] for index in got]) >= 0.75


@pytest.mark.parametrize("where", ["smi.json", "preview_stages.png", "preview.png", "README.md"])
def test_a_disk_that_is_full_at_any_file_is_one_sentence_and_the_run_continues(
    teacher, config, rows, monkeypatch, where
):
    args = config()
    replace_file = os.replace

    def full(source, target, **options):
        if Path(target).name == where:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace_file(source, target, **options)

    with monkeypatch.context() as patches:
        patches.setattr(os, "replace", full)
        with pytest.raises(RunError, match=r"no space left .*; make room and run the same command again"):
            SparseInversionTrainer(teacher, args).train()
    folder = Path(args.output_dir)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    SparseInversionTrainer(teacher, args).train()
    assert sorted(rows(folder)) == [0, 1, 2, 3]


def test_a_shard_that_was_changed_is_measured_again_and_not_called_complete(teacher, config):
    args = config()
    first = SparseInversionTrainer(teacher, args)
    first.train()
    record = replace(first.record, results=first.record.results | {"content_sha256": "0" * 64})
    record.save(first.output_dir)
    again = SparseInversionTrainer(teacher, args)
    again.train()
    assert again.record.results["content_sha256"] == first.record.results["content_sha256"]


def test_a_second_run_leaves_the_first_alone(teacher, config):
    args = config()
    refusals = []

    class Intrude(SparseInversionCallback):
        def on_batch_end(self, run, images):
            with pytest.raises(UsageError, match="another run is writing to output_dir") as caught:
                invert(teacher, config(overwrite_output_dir=True))
            refusals.append(caught)

    assert len(invert(teacher, args, callbacks=[Intrude()])) == 4
    assert len(refusals) == 2


def test_a_report_lies_beside_the_images_and_is_of_these_images(teacher, config, tmp_path):
    report = tmp_path / "set" / "report.html"
    args = config(output_dir=str(tmp_path / "set"), num_images=2)
    invert(teacher, args)
    assert report.read_text().count("data-probability") == 2
    report.unlink()
    invert(teacher, args)
    assert report.read_text().count("data-probability") == 2, "a complete dataset gets the report that it lacks"
    invert(teacher, replace(args, num_images=3, report=False))
    assert not report.exists(), "a report of two images beside three"
    report.write_text("mine")
    invert(teacher, replace(args, num_images=3, overwrite_output_dir=True))
    assert report.read_text() == "mine"
