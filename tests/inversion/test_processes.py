"""What survives a kill -9, what a second process changes, and which trackers there are: real processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from accelerate.tracking import get_available_trackers

from smi_hf import SparseInversionConfig, SparseInversionTrainer, UsageError, load_sparse_dataset, load_teacher
from smi_hf.data import DatasetRecord


@pytest.fixture
def settings(tiny_checkpoint):
    return {
        "model_name_or_path": str(tiny_checkpoint),
        "num_images": 12,
        "num_steps": 40,
        "batch_size": 2,
        "classes": ["balanced"],
    }


def arguments(settings: dict, output_dir: Path) -> list[str]:
    options = []
    for name, value in (settings | {"output_dir": str(output_dir)}).items():
        options += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return options


def run_in_this_process(settings: dict, output_dir: Path) -> None:
    options = {name: value for name, value in settings.items() if name != "model_name_or_path"}
    config = SparseInversionConfig(output_dir=str(output_dir), disable_tqdm=True, **options)
    SparseInversionTrainer(load_teacher(settings["model_name_or_path"]), config).train()


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "data").glob("train-*.parquet"))


@pytest.mark.slow  # test_kills.py samples the same in the default suite
def test_a_killed_run_continues_to_the_images_of_an_uninterrupted_one(
    settings, rows, tmp_path, repository, subprocess_environment, run_command
):
    settings["num_steps"] = 150
    command = [sys.executable, "-m", "smi_hf.cli.main", "invert", *arguments(settings, tmp_path / "killed")]
    process = subprocess.Popen(
        command, cwd=repository, env=subprocess_environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while len(shards(tmp_path / "killed") if (tmp_path / "killed" / "data").exists() else []) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    num_finished = 2 * len(shards(tmp_path / "killed"))
    assert 4 <= num_finished < 12
    assert DatasetRecord.load(tmp_path / "killed").status == "running"

    again = run_command(*command)
    assert again.returncode == 0, again.stderr
    results = load_sparse_dataset(tmp_path / "killed").record.results
    assert results["num_images_this_session"] == 12 - num_finished, "finished images were made again"
    run_in_this_process(settings, tmp_path / "whole")
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    # One shard of all batches, the same bytes, and nothing beside it.
    assert [path.name for path in (tmp_path / "killed" / "data").iterdir()] == ["train-00000000-00000011.parquet"]
    assert results["content_sha256"] == load_sparse_dataset(tmp_path / "whole").record.results["content_sha256"]


def test_two_processes_make_the_images_of_one(settings, rows, tmp_path, run_command):
    launched = run_command(
        *("accelerate", "launch", "--config_file", "recipes/accelerate/multi_cpu.yaml", "recipes/invert.py"),
        *arguments(settings, tmp_path / "two"),
    )
    assert launched.returncode == 0, launched.stderr
    assert launched.stdout.count("12 images in") == 1  # the main process alone speaks
    run_in_this_process(settings, tmp_path / "one")
    two, one = rows(tmp_path / "two"), rows(tmp_path / "one")
    assert two == one  # the same batches: bit by bit
    results = load_sparse_dataset(tmp_path / "two").record.results
    assert results["num_processes"] == 2
    assert results["content_sha256"] == load_sparse_dataset(tmp_path / "one").record.results["content_sha256"]

    # Other batches: other rounding, which Adam amplifies over 40 steps; the noise and the targets are the same.
    run_in_this_process(settings | {"batch_size": 3}, tmp_path / "other")
    other = rows(tmp_path / "other")
    assert [other[index]["label"] for index in other] == [one[index]["label"] for index in one]
    assert np.mean([other[index]["kept_patches"] == one[index]["kept_patches"] for index in one]) >= 0.5


@pytest.mark.slow  # test_batches.py shows that their batches are those of one, of which images are made bit by bit
def test_two_processes_make_the_trajectories_of_one(settings, rows, tmp_path, run_command):
    settings |= {"num_steps": 8, "policy": "pri", "images_per_trajectory": 2}
    launched = run_command(
        *("accelerate", "launch", "--config_file", "recipes/accelerate/multi_cpu.yaml", "recipes/invert.py"),
        *arguments(settings, tmp_path / "two"),
    )
    assert launched.returncode == 0, launched.stderr
    run_in_this_process(settings, tmp_path / "one")
    assert rows(tmp_path / "two") == rows(tmp_path / "one")
    assert load_sparse_dataset(tmp_path / "two").record.results["num_processes"] == 2


def test_launching_with_cpu_runs_and_says_that_it_is_one_process(settings, rows, tmp_path, run_command):
    settings |= {"num_images": 2, "num_steps": 5}
    launched = run_command(
        *("accelerate", "launch", "--num_processes", "2", "--cpu", "recipes/invert.py"),
        *arguments(settings, tmp_path / "launched"),
    )
    assert launched.returncode == 0, launched.stderr
    assert "starts one process whatever --num_processes says" in launched.stderr
    run_in_this_process(settings, tmp_path / "one")
    assert rows(tmp_path / "launched") == rows(tmp_path / "one")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", r"report_to has an unknown tracker 'tensorbord' \(did you mean 'tensorboard'\?\)"),
        ("", "report_to has an unknown tracker ''"),
    ],
)
def test_a_tracker_that_does_not_exist_is_refused(teacher, config, name, message):
    with pytest.raises(UsageError, match=message):
        SparseInversionTrainer(teacher, config(report_to=[name]))


def test_a_tracker_that_is_not_installed_is_not_ignored(teacher, config):
    absent = next(name for name in ("aim", "comet_ml", "dvclive", "swanlab") if name not in get_available_trackers())
    with pytest.raises(UsageError, match=f"report_to names {absent}, but its package is not installed"):
        SparseInversionTrainer(teacher, config(report_to=[absent]))
