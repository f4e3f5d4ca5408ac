"""How long a training takes, in words."""

import logging

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
