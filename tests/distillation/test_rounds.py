"""Rounds: how the pool grows, and that a run which was killed anywhere ends as one that was not."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smi_hf import RunError, UsageError
from smi_hf.distillation import Rounds, SparseDistillationTrainer
from smi_hf.distillation.lessons import Lesson


@pytest.fixture
def rounds(dataset):
    """Two rounds of three images each, which are there already; `asked` is what was asked for."""

    class Asked(list):
        def __call__(self, num_images):
            self.append(num_images)
            return dataset.first(num_images)

    asked = Asked()
    return Rounds(2, 3, asked), asked


SAVING = {"save_strategy": "epoch", "num_train_epochs": 2}


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_pool_grows_and_the_student_goes_on_learning(run, rounds, folder):
    record = run(rounds=rounds[0], **SAVING)
    assert rounds[1] == [3, 6, 6]
    assert (record.settings["rounds"], record.datasets[0].num_images) == (2, 6)
    assert record.held_out.num_images == 2
    first, second = (weights(folder / f"round-{number}") for number in (1, 2))
    assert not equal(first, second) and equal(second, weights(folder))


def test_the_curve_goes_through_all_rounds_and_the_time_is_that_of_all(run, rounds, real_images, folder):
    record = run(rounds=rounds[0], images=real_images, eval_strategy="epoch", **SAVING)
    assert [epoch for epoch, _ in record.curves["sparse"]] == [1.0, 2.0, 3.0, 4.0]
    parts = [Lesson.load(folder / f"round-{number}") for number in (1, 2)]
    assert record.rows[1].figures["seconds"] == pytest.approx(sum(part.seconds for part in parts), abs=0.06)


def test_finished_rounds_teach_nothing_again(run, rounds, folder, monkeypatch):
    first = run(rounds=rounds[0], **SAVING)
    monkeypatch.setattr(SparseDistillationTrainer, "train", lambda *args, **options: pytest.fail("was taught"))
    assert run(rounds=rounds[0], **SAVING) == first
    # The record alone is gone: it is written again, of the same student.
    (folder / "results.json").unlink()
    again = run(rounds=rounds[0], **SAVING)
    assert (again.held_out, again.files) == (first.held_out, first.files)


def test_a_round_that_was_done_is_not_taught_again(run, rounds, folder, caplog):
    whole = run(rounds=rounds[0], **SAVING)
    expected = weights(folder)
    for name in ("results.json", "model.safetensors", "config.json"):
        (folder / name).unlink()
    lesson = Lesson.load(folder)
    Lesson(lesson.settings).save(folder)
    shutil.rmtree(folder / "round-2")
    rounds[1].clear()
    with caplog.at_level(logging.INFO, "smi_hf"):
        record = run(rounds=rounds[0], **SAVING)
    assert rounds[1] == [6, 6]
    assert "round 1 of 2 is done already" in caplog.text and "round 2 of 2: 6 images" in caplog.text
    assert equal(weights(folder), expected) and record.files == whole.files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 3.0}, "temperature was 2.0 and is now 3.0"),
        ({"loss": "mse"}, "loss was 'kl' and is now 'mse'"),
        ({"rounds": (3, 2, {})}, "rounds was 2 and is now 3; images_per_round was 3 and is now 2"),
        ({"rounds": (2, 3, {"num_steps": 5})}, "images was {} and is now {'num_steps': 5}"),
    ],
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_other_settings_are_refused_before_anything_is_grown(
    is_finished, changes, message, run, rounds, folder, dataset, monkeypatch
):
    if is_finished:
        run(rounds=rounds[0], **SAVING)
    else:
        train, teach = SparseDistillationTrainer.train, []

        def fail_in_round_2(self, *args, **options):
            teach.append(self)
            if len(teach) == 2:
                raise RunError("cut off")
            return train(self, *args, **options)

        monkeypatch.setattr(SparseDistillationTrainer, "train", fail_in_round_2)
        with pytest.raises(RunError, match="cut off"):
            run(rounds=rounds[0], **SAVING)
    if "rounds" in changes:
        num_rounds, images_per_round, settings = changes["rounds"]
        changes = {"rounds": Rounds(num_rounds, images_per_round, rounds[1], settings)}
    rounds[1].clear()
    with pytest.raises(UsageError, match="taught otherwise: ") as error:
        run(**{"rounds": rounds[0], **SAVING, **changes})
    assert message in str(error.value) and rounds[1] == []


def test_a_student_of_a_round_that_was_changed_since_is_refused(run, rounds, folder):
    run(rounds=rounds[0], **SAVING)
    Lesson(Lesson.load(folder).settings).save(folder)
    file = folder / "round-1" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(UsageError, match=r"round-1/model.safetensors was changed since"):
        run(rounds=rounds[0], **SAVING)


def test_overwriting_discards_the_rounds_and_no_file_of_others(run, rounds, folder):
    run(rounds=rounds[0], **SAVING)
    (folder / "round-2" / "notes.txt").write_text("mine")
    (folder / "round-9").mkdir()
    run(overwrite_output_dir=True)
    assert not (folder / "round-1").exists()
    assert [path.name for path in (folder / "round-2").iterdir()] == ["notes.txt"]
    assert (folder / "round-9").is_dir()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images": 3}, "rounds grow one dataset of their own"),
        ({"controls": ["gaussian"]}, "rounds grow one dataset of their own"),
        ({"resume_from_checkpoint": "x"}, "rounds continue by themselves"),
    ],
)
def test_what_rounds_cannot_do_is_refused(options, message, run, rounds, folder, real_images):
    with pytest.raises(UsageError, match=message):
        run(rounds=rounds[0], images=real_images, **options)
    assert rounds[1] == [] and not folder.exists()


@pytest.mark.parametrize("numbers", [(0, 3), (2, 0), (-1, 3)])
def test_rounds_are_at_least_one_of_one_image(numbers, rounds):
    with pytest.raises(UsageError, match="must be at least 1"):
        Rounds(*numbers, rounds[1])


# Killed


def kill(tiny_checkpoint, sparse_folder, folder, environment, *events) -> dict:
    """What `kills.py` says: for each event whether the run that was killed there ended as one that was not."""
    script = Path(__file__).with_name("kills.py")
    command = [sys.executable, script, tiny_checkpoint, sparse_folder, folder, *events]
    ran = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=3000)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_run_that_is_killed_at_a_file_ends_by_the_same_command_as_one_that_was_not(
    tiny_checkpoint, sparse_folder, tmp_path, subprocess_environment
):
    said = kill(tiny_checkpoint, sparse_folder, tmp_path, subprocess_environment, "3")
    assert said["num_events"] > 60 and len(said["killed"]) == 3
    assert said["wrong"] == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_that_is_killed_at_any_file_ends_as_one_that_was_not(
    tiny_checkpoint, sparse_folder, tmp_path, subprocess_environment
):
    said = kill(tiny_checkpoint, sparse_folder, tmp_path, subprocess_environment, "all")
    assert len(said["killed"]) == said["num_events"]
    assert said["wrong"] == {}
