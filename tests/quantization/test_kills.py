"""Kill -9 while a model is quantized, and two quantizations at once: a folder is there whole, or not at all."""

import killing
import numpy as np
import pytest
import quantizing

from smi_hf.evaluation.record import ModelRecord


@pytest.fixture(scope="module")
def context():
    return killing.processes()


@pytest.fixture(scope="module")
def whole(context, tiny_checkpoint, sparse_folder, tmp_path_factory):
    """The folder of a run that was never cut off, and how many changes to files it made."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = (str(tiny_checkpoint), str(sparse_folder), str(folder))
    code, num_changes = killing.run_killed(quantizing.make, arguments, folder, 0, context=context)
    assert code == 0
    return folder, num_changes


def check_killed_at(number, context, tiny_checkpoint, sparse_folder, whole, folder):
    folder.mkdir()
    arguments = (str(tiny_checkpoint), str(sparse_folder), str(folder))
    code, _ = killing.run_killed(quantizing.make, arguments, folder, number, context=context)
    assert code == -9, f"the run was not killed at change {number}"
    if not (folder / "int8").exists():
        code, _ = killing.run_killed(quantizing.make, arguments, folder, 0, context=context)
        assert code == 0, f"after a kill at change {number} the same run failed"
        assert [path.name for path in folder.iterdir()] == ["int8"]
    # Killed after it was put in its place, it is whole; what lies beside it the next run there removes.
    assert ModelRecord.load(folder / "int8") == ModelRecord.load(whole[0] / "int8")
    assert {path.name for path in (folder / "int8").iterdir()} == {path.name for path in (whole[0] / "int8").iterdir()}


def test_a_run_that_is_killed_at_any_change_leaves_no_half_model(
    context, tiny_checkpoint, sparse_folder, whole, tmp_path
):
    for number in sorted({1, 2, 3, *np.linspace(4, whole[1], 4, dtype=int).tolist()}):
        check_killed_at(number, context, tiny_checkpoint, sparse_folder, whole, tmp_path / str(number))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_at_each_of_its_changes_leaves_no_half_model(
    context, tiny_checkpoint, sparse_folder, whole, tmp_path
):
    assert whole[1] > 10
    for number in range(1, whole[1] + 1):
        check_killed_at(number, context, tiny_checkpoint, sparse_folder, whole, tmp_path / str(number))


def test_of_two_runs_into_one_folder_one_writes(context, tiny_checkpoint, sparse_folder, whole, tmp_path):
    num_tries = 20
    barrier, answers = context.Barrier(2), context.SimpleQueue()
    arguments = (str(tiny_checkpoint), str(sparse_folder), str(tmp_path), num_tries, barrier, answers)
    runs = [context.Process(target=quantizing.race, args=arguments) for _ in range(2)]
    for run in runs:
        run.start()
    told = [answers.get() for _ in range(2 * num_tries)]
    for run in runs:
        run.join()
        assert run.exitcode == 0
    for number in range(num_tries):
        outcomes = sorted(outcome for which, outcome in told if which == number)
        assert outcomes.count("made") == 1, outcomes
        refusal = next(outcome for outcome in outcomes if outcome != "made")
        assert "another run is writing to output_dir" in refusal or "exists; choose another folder" in refusal
        assert ModelRecord.load(tmp_path / str(number)) == ModelRecord.load(whole[0] / "int8")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, range(num_tries)))
