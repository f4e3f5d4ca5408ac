"""Kill -9 at the changes that a run makes to files, one after the other; then the same run again."""

import inverting
import killing
import numpy as np
import pytest

from smi_hf import load_sparse_dataset

FILES = {"README.md", "data", "preview.png", "preview_stages.png", "report.html", "smi.json"}


@pytest.fixture(scope="module")
def context():
    return killing.processes()


def run_whole(make, context, tiny_checkpoint, folder):
    """A run that was never cut off, and how many changes it made."""
    code, num_changes = killing.run_killed(make, (str(tiny_checkpoint), str(folder)), folder, 0, context=context)
    assert code == 0
    return folder, num_changes


@pytest.fixture(scope="module")
def whole(context, tiny_checkpoint, tmp_path_factory):
    return run_whole(inverting.make, context, tiny_checkpoint, tmp_path_factory.mktemp("whole") / "set")


def check_killed_at(number, context, tiny_checkpoint, whole, folder, *, make=inverting.make):
    run = make, (str(tiny_checkpoint), str(folder)), folder
    code, _ = killing.run_killed(*run, number, context=context)
    assert code == -9, f"the run was not killed at change {number}"
    code, _ = killing.run_killed(*run, 0, context=context)
    assert code == 0, f"after a kill at change {number} the same run failed"
    results, expected = (load_sparse_dataset(each).record.results for each in (folder, whole[0]))
    assert results["content_sha256"] == expected["content_sha256"], f"other images after a kill at change {number}"
    # The picture of the stages is drawn while they pass: killed right after its first shard, a run goes on without it.
    pictures = {"preview.png", *results["pictures"]}
    assert {path.name for path in folder.iterdir()} == {"README.md", "data", "report.html", "smi.json"} | pictures
    assert [path.name for path in (folder / "data").iterdir()] == ["train-00000000-00000003.parquet"]


def test_a_run_that_is_killed_at_any_change_is_continued(context, tiny_checkpoint, whole, tmp_path):
    # The first ones, which make the folder ours, and some of the others; the rest in the slow test.
    for number in sorted({1, 2, 3, 4, *np.linspace(5, whole[1], 4, dtype=int).tolist()}):
        check_killed_at(number, context, tiny_checkpoint, whole, tmp_path / str(number))


def test_a_run_of_trajectories_is_continued_too(context, tiny_checkpoint, tmp_path):
    whole = run_whole(inverting.make_trajectories, context, tiny_checkpoint, tmp_path / "whole")
    # Before its first shard is there, between its two, and before they are one.
    for number in np.linspace(5, whole[1] - 5, 3, dtype=int).tolist():
        folder = tmp_path / str(number)
        check_killed_at(number, context, tiny_checkpoint, whole, folder, make=inverting.make_trajectories)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_at_each_of_its_changes_is_continued(context, tiny_checkpoint, whole, tmp_path):
    assert whole[1] > 30
    for number in range(1, whole[1] + 1):
        check_killed_at(number, context, tiny_checkpoint, whole, tmp_path / str(number))


def test_two_runs_on_one_folder_never_mix(context, tiny_checkpoint, whole, tmp_path):
    num_tries = 20
    barrier, answers = context.Barrier(2), context.SimpleQueue()
    arguments = (str(tiny_checkpoint), str(tmp_path), num_tries, barrier, answers)
    runs = [context.Process(target=inverting.race, args=arguments) for _ in range(2)]
    for run in runs:
        run.start()
    told = [answers.get() for _ in range(2 * num_tries)]
    for run in runs:
        run.join()
        assert run.exitcode == 0
    expected = load_sparse_dataset(whole[0]).record.results["content_sha256"]
    refused = 0
    for number in range(num_tries):
        outcomes = [outcome for which, outcome in told if which == number]
        assert 4 in outcomes, f"nobody made the images: {outcomes}"
        # The other was refused, or came when they were there already.
        others = [outcome for outcome in outcomes if outcome != 4]
        assert all("another run is writing to output_dir" in outcome for outcome in others)
        refused += len(others)
        folder = tmp_path / str(number)
        assert load_sparse_dataset(folder).record.results["content_sha256"] == expected
        assert {path.name for path in folder.iterdir()} == FILES
    assert refused > 0
