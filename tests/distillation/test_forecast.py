"""How long a training takes, in words."""

import logging

import pytest

from smi_hf.distillation.forecast import forecast


def test_the_first_steps_say_how_long_it_takes(make_trainer, real_images, image_processor, caplog):
    with caplog.at_level(logging.INFO, logger="smi_hf"):
        make_trainer(
            eval_dataset=real_images, image_processor=image_processor, eval_strategy="epoch", num_train_epochs=3
        ).train()
    (said,) = [each.message for each in caplog.records if each.message.startswith("takes about ")]
    assert "10 steps of " in said and ", 2 judgements of " in said


def test_the_forecast_adds_up_and_warns_of_judging():
    assert forecast(300, 2.0, 0, 0.0) == "takes about 10 minutes more: 300 steps of 2 s"
    assert forecast(100, 0.01, 1, 30.0) == "takes about 31 s more: 100 steps of 10 ms, 1 judgement of 30 s"
    assert "judging is most of it" in forecast(100, 0.01, 10, 4.0)
    assert "judging is most of it" not in forecast(100, 1.0, 10, 4.0)
    # Early stopping cannot do without judgements, and may need fewer steps.
    early = forecast(100, 0.01, 10, 4.0, may_stop=True)
    assert early.startswith("takes at most about 41 s more") and early.endswith("--eval_steps 0.2 judges five times")


@pytest.mark.parametrize("settings", [{}, {"eval_strategy": "epoch"}])
def test_the_forecast_of_a_run_that_may_stop_counts_all_of_its_judgements(
    settings, make_trainer, real_images, image_processor, caplog
):
    given = {"eval_dataset": real_images, "image_processor": image_processor, "save_strategy": None}
    with caplog.at_level(logging.INFO, logger="smi_hf"):
        make_trainer(early_stopping_patience=9, num_train_epochs=3, **given, **settings).train()
    (said,) = [each.message for each in caplog.records if each.message.startswith("takes at most about ")]
    # Of 12 steps the first 5 are done; a twentieth of them is one.
    assert "7 steps of " in said and (", 2 judgements of " if settings else ", 7 judgements of ") in said
