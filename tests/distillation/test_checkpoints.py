"""Checkpoints: which are complete, and what a run resumes from."""

import json
import shutil

import pytest
import torch
from transformers import TrainerCallback

from smi_hf import UsageError
from smi_hf.distillation.checkpoints import (
    SETTINGS_FILE,
    WEIGHTS_FILE,
    differences,
    last_checkpoint,
    missing_part,
)

SAVING = {"save_strategy": "epoch", "num_train_epochs": 3, "optim": "adamw_torch"}
# Every file that a training cannot go on without.
NEEDED = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", SETTINGS_FILE, WEIGHTS_FILE)


@pytest.fixture
def taught(make_trainer, tmp_path):
    """The folder of a run of three epochs, a checkpoint each."""
    trainer = make_trainer(**SAVING)
    trainer.train()
    return tmp_path / "out"


def test_the_last_checkpoint_is_found_by_its_number(taught):
    assert {path.name for path in taught.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-8", "checkpoint-12"}
    assert last_checkpoint(taught).name == "checkpoint-12"
    assert last_checkpoint(taught / "nowhere") is None
    (taught / "checkpoint-99").touch()
    (taught / "checkpoint-x").mkdir()
    assert last_checkpoint(taught).name == "checkpoint-12"


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("damage", ["gone", "empty", "cut off"])
def test_a_checkpoint_of_which_a_file_is_damaged_is_passed_over(name, damage, taught):
    path = taught / "checkpoint-12" / name
    content = path.read_bytes()
    assert missing_part(path.parent) is None
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    assert missing_part(path.parent) == name
    assert last_checkpoint(taught).name == "checkpoint-8"


def test_a_run_resumes_from_the_last_complete_checkpoint(make_trainer, taught, tmp_path):
    whole = make_trainer(**SAVING, output_dir=str(tmp_path / "whole"))
    whole.train()
    (taught / "checkpoint-12" / "trainer_state.json").write_text("{")
    steps = []

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            steps.append(state.global_step)

    resumed = make_trainer(**SAVING, callbacks=[Watch()])
    resumed.train(resume_from_checkpoint=True)
    assert steps == [8, 9, 10, 11]
    for one, other in zip(resumed.model.state_dict().values(), whole.model.state_dict().values()):
        assert torch.equal(one, other)


def test_without_a_complete_checkpoint_there_is_nothing_to_resume(make_trainer, taught):
    for path in taught.glob("checkpoint-*"):
        (path / WEIGHTS_FILE).unlink()
    with pytest.raises(UsageError, match="there is no complete checkpoint"):
        make_trainer(**SAVING).train(resume_from_checkpoint=True)
    with pytest.raises(UsageError, match=f"is not complete: its {WEIGHTS_FILE} is absent or cut off"):
        make_trainer(**SAVING).train(resume_from_checkpoint=str(taught / "checkpoint-8"))


def test_the_time_of_a_run_that_was_resumed_is_that_of_all_its_sessions(make_trainer, taught):
    settings = taught / "checkpoint-8" / SETTINGS_FILE
    written = json.loads(settings.read_text())
    assert written["seconds"] > 0
    settings.write_text(json.dumps(written | {"seconds": 1000.0}))
    shutil.rmtree(taught / "checkpoint-12")
    resumed = make_trainer(**SAVING)
    resumed.train(resume_from_checkpoint=True)
    assert 1000 < resumed.seconds < 1100


def test_differences_are_named_and_what_is_new_counts():
    before = {"same": [1, 2], "other": 1, "gone": 3}
    assert differences(before, {"same": (1, 2)}) == ""
    assert differences(before, {"same": (1, 2), "other": 2.5}) == "other was 1 and is now 2.5"
    assert differences(before, {"new": None}) == "new was None and is now None"
