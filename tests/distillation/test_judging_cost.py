"""What judging on the way costs: a frozen backbone sees an image once, and the first steps say how long it takes."""

import logging

import pytest
import torch

from smi_hf.distillation.forecast import forecast


@pytest.fixture
def backbone_runs(monkeypatch):
    """How many images the backbones of students were shown whole."""
    from smi_hf.distillation.students import SparseStudent

    seen = []
    summarize = SparseStudent.summarize_images

    def watch(self, pixels_BCHW):
        seen.append(len(pixels_BCHW))
        return summarize(self, pixels_BCHW)

    monkeypatch.setattr(SparseStudent, "summarize_images", watch)
    return seen


def test_a_frozen_backbone_sees_a_real_image_once(make_trainer, real_images, image_processor, backbone_runs):
    trainer = make_trainer(
        eval_dataset=real_images, image_processor=image_processor, freeze_backbone=True, num_views=2,
        eval_strategy="epoch", num_train_epochs=3,
    )  # fmt: skip
    trainer.train()
    assert sum(backbone_runs) <= len(real_images) + trainer.args.eval_batch_size  # the forecast tried one batch
    judged = [entry for entry in trainer.state.log_history if "eval_top1" in entry]
    assert len(judged) == 3
    # The head has learned since the summaries were made: logits must be of the head as it is now.
    batch = trainer.eval_dataset.collate([0, 1])
    assert "summary" in batch and "pixel_values" not in batch
    _, logits, labels = trainer.prediction_step(trainer.model, batch, prediction_loss_only=False)
    pictures, wanted = real_images.batch([0, 1])
    pixels = image_processor(pictures, return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = trainer.model(pixel_values=pixels).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert labels.tolist() == wanted.tolist()


def test_a_backbone_that_learns_sees_every_image_each_time(make_trainer, real_images, image_processor, backbone_runs):
    trainer = make_trainer(eval_dataset=real_images, image_processor=image_processor, eval_strategy="epoch")
    trainer.train()
    assert backbone_runs == [] and trainer.eval_dataset.summaries == {}


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
