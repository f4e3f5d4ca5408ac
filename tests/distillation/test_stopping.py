"""Early stopping: held-out synthetic images say when, and the best student comes out."""

import json
import logging
import math

import pytest
import torch
from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from smi_hf import UsageError
from smi_hf.distillation.rounds import Rounds
from smi_hf.distillation.stopping import stopped_state
from smi_hf.evaluation.record import ModelRecord

# A student that soon gets worse: labels of noise are taught beside the teacher's answers.
WORSE = {
    "early_stopping_patience": 2,
    "held_out": 0.25,
    "save_strategy": None,
    "num_train_epochs": 30,
    "learning_rate": 0.05,
    "hard_label_weight": 5.0,
}


def kls(trainer):
    return {entry["step"]: entry["eval_kl"] for entry in trainer.state.log_history if "eval_kl" in entry}


def weights(trainer):
    return [value.clone() for value in trainer.model.state_dict().values()]


def assert_equal(one, other):
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


class Kill(TrainerCallback):
    """Cuts a training off after a checkpoint, as a lost machine would."""

    def __init__(self, is_due):
        self._is_due = is_due

    def on_save(self, args, state, control, **kwargs):
        if self._is_due(state, control):
            raise KeyboardInterrupt


@pytest.mark.parametrize("settings", [{}, {"freeze_backbone": True, "num_views": 2}], ids=["whole", "frozen"])
def test_a_training_stops_when_held_out_images_are_answered_no_better_and_gives_the_best_student(
    settings, make_trainer, tmp_path, caplog
):
    trainer = make_trainer(**WORSE | settings)
    with caplog.at_level(logging.INFO, "smi_hf"):
        trainer.train()
    found = kls(trainer)
    best = min(found, key=found.get)
    after = [step for step in found if step > best]
    assert len(after) == 2 and trainer.state.global_step == after[-1] < trainer.state.max_steps
    assert trainer.steps == {"steps_taught": after[-1], "steps_kept": best}
    assert trainer.evaluate()["eval_kl"] == pytest.approx(found[best], rel=1e-5)
    assert f"taught {after[-1]} of at most {trainer.state.max_steps} steps, and kept the student of step {best}" in (
        caplog.text
    )
    # The best stays on disk, and nothing else; twenty evaluations would have been the whole training.
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == [f"checkpoint-{best}"]
    assert trainer.args.eval_steps == math.ceil(trainer.state.max_steps / 20)


def test_a_training_that_never_gets_worse_is_judged_to_its_last_step(make_trainer):
    trainer = make_trainer(early_stopping_patience=3, save_strategy=None, max_steps=41)
    trainer.train()
    assert list(kls(trainer)) == [*range(3, 41, 3), 41]
    assert trainer.steps == {"steps_taught": 41, "steps_kept": 41}


def test_real_images_have_no_say_but_the_same_student_comes_out(make_trainer, real_images, image_processor):
    taught = []
    for given in ({}, {"eval_dataset": real_images, "image_processor": image_processor}):
        trainer = make_trainer(**WORSE, **given)
        trainer.train()
        taught.append((weights(trainer), trainer.steps, kls(trainer)))
        assert trainer.curve == () and "eval_top1" not in trainer.evaluate()
    assert_equal(taught[0][0], taught[1][0])
    assert taught[0][1:] == taught[1][1:] and trainer.judged_on == "real images"
    assert trainer.judge_held_out() is None


def test_real_images_draw_the_curve_beside_where_evaluations_were_asked_for(
    make_trainer, real_images, image_processor, caplog
):
    with caplog.at_level(logging.WARNING):
        trainer = make_trainer(
            **WORSE, eval_strategy="epoch", eval_dataset=real_images, image_processor=image_processor
        )
        trainer.train()
    assert caplog.text == ""
    found = kls(trainer)
    assert len(trainer.curve) == len(found) and trainer.state.best_global_step == min(found, key=found.get)
    assert {"eval_kl", "eval_agreement", "eval_loss", "eval_top1", "eval_top5"} <= trainer.evaluate().keys()


@pytest.mark.parametrize("when", ["before it stops", "once it has stopped"])
@pytest.mark.parametrize("strategy", [{}, {"eval_strategy": "epoch"}], ids=["steps", "epoch"])
def test_a_run_that_was_cut_off_stops_where_it_would_have(when, strategy, make_trainer, tmp_path, caplog):
    settings = {**WORSE, **strategy, "learning_rate": 0.03}
    whole = make_trainer(**settings, output_dir=str(tmp_path / "whole"))
    whole.train()

    def is_due(state, control):
        # One step into the patience, which has to be remembered.
        before = len(kls(whole)) - 1
        return (
            control.should_training_stop
            if when == "once it has stopped"
            else len(state.log_history) and (sum("eval_kl" in entry for entry in state.log_history) == before)
        )

    cut = make_trainer(**settings, callbacks=[Kill(is_due)])
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    last = max((tmp_path / "out").glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    assert (stopped_state(last) is not None) == (when == "once it has stopped")
    resumed = make_trainer(**settings)
    caplog.clear()
    resumed.train(resume_from_checkpoint=True)
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == []
    assert (resumed.steps, kls(resumed)) == (whole.steps, kls(whole))
    assert_equal(weights(resumed), weights(whole))


def test_a_run_of_another_patience_is_not_resumed(make_trainer):
    make_trainer(**WORSE).train()
    with pytest.raises(UsageError, match="early_stopping_patience was 2 and is now 3"):
        make_trainer(**WORSE | {"early_stopping_patience": 3}).train(resume_from_checkpoint=True)


def test_the_record_of_a_student_says_how_many_steps_were_taught_and_kept(run, real_images, folder, caplog):
    settings = {"early_stopping_patience": 1, "save_strategy": None, "max_steps": 40, "learning_rate": 0.5}
    with caplog.at_level(logging.INFO, "smi_hf"):
        record = run(images=real_images, controls=["gaussian"], **settings)
    assert 0 < record.settings["steps_kept"] < record.settings["steps_taught"] < 40
    assert record.settings["early_stopping_patience"] == 1
    assert record.rows and record.held_out is None and record.curves == {}
    assert "steps_kept" in (folder / "README.md").read_text()
    assert "held-out synthetic images, and keeps the best student; judged by real images in the end" in caplog.text
    # Another table of the same student: nothing is taught, and the steps are known.
    (folder / "results.json").unlink()
    again = run(images=real_images, **settings)
    assert again.settings["steps_kept"] == record.settings["steps_kept"]
    assert ModelRecord.load(folder).files == record.files
    assert json.loads((folder / "lesson.json").read_text())["settings"]["held_out"] == 0.4


def test_each_round_stops_by_itself_and_the_record_has_the_sum(run, dataset):
    settings = {"early_stopping_patience": 1, "save_strategy": None, "max_steps": 20, "learning_rate": 0.5}
    record = run(rounds=Rounds(2, 3, dataset.first), **settings)
    assert 2 < record.settings["steps_taught"] <= 40
    assert 2 <= record.settings["steps_kept"] <= record.settings["steps_taught"]
    assert record.held_out.num_images == 2


# What is settled, and what is refused


def test_without_early_stopping_evaluations_and_checkpoints_are_those_of_transformers(make_args):
    for off in (None, 0):
        args = make_args(early_stopping_patience=off, save_strategy=None)
        assert (args.eval_strategy, args.save_strategy) == (IntervalStrategy.NO, "steps")
        assert (args.save_steps, args.save_total_limit, args.load_best_model_at_end) == (500, None, False)
        assert not args.stops_early and args.distillation_settings["early_stopping_patience"] is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("steps", 0.05, "steps", 0.05, 1)),
        ({"eval_steps": 50}, ("steps", 50, "steps", 50, 1)),
        ({"eval_strategy": "steps"}, ("steps", 0.05, "steps", 0.05, 1)),
        ({"eval_strategy": "epoch"}, ("epoch", None, "epoch", 500, 1)),
        ({"save_total_limit": 4}, ("steps", 0.05, "steps", 0.05, 4)),
        ({"eval_steps": 50, "save_steps": 50, "save_strategy": "steps"}, ("steps", 50, "steps", 50, None)),
    ],
)
def test_what_was_left_open_is_settled_so_that_the_best_can_be_kept(given, expected, make_args):
    args = make_args(early_stopping_patience=3, **{"save_strategy": None, **given})
    assert (
        args.eval_strategy,
        args.eval_steps,
        args.save_strategy,
        args.save_steps,
        args.save_total_limit,
    ) == expected
    assert args.load_best_model_at_end and args.draws_curve == ("eval_strategy" in given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eval_strategy": "no"}, "is 3, but eval_strategy is 'no', so that nothing would say when to stop; give"),
        ({"load_best_model_at_end": False}, "keeps the best student, but load_best_model_at_end is false"),
        ({"save_strategy": "no"}, "a checkpoint of each: save_strategy is no, but eval_strategy is steps; leave save"),
        ({"save_strategy": "best"}, "save_strategy is best, but eval_strategy is steps"),
        ({"eval_steps": 10, "save_steps": 20}, "save_steps is 20, but eval_steps is 10; leave save_steps out"),
        ({"early_stopping_patience": -1}, r"early_stopping_patience must be from 0 to .*, but -1 was given"),
        ({"held_out": 0}, "held_out must be above 0 and below 1, but 0 was given"),
    ],
)
def test_what_leaves_early_stopping_nothing_to_go_by_is_refused(given, message, make_args):
    with pytest.raises(UsageError, match=message) as error:
        make_args(**{"early_stopping_patience": 3, "save_strategy": None, **given})
    assert "\n" not in str(error.value)


def test_real_images_cannot_decide_when_to_stop(make_trainer, real_images, image_processor):
    given = {"eval_dataset": real_images, "image_processor": image_processor}
    with pytest.raises(UsageError, match=r"is 'top1'.* judge this student by agreement, kl and loss"):
        make_trainer(early_stopping_patience=3, save_strategy=None, metric_for_best_model="top1", **given)
    trainer = make_trainer(early_stopping_patience=3, save_strategy=None, metric_for_best_model="agreement", **given)
    assert trainer.args.greater_is_better
