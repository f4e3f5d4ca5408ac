"""What judges a student while it learns, and by which figures."""

import numpy as np
import pytest
import torch

from smi_hf.distillation.losses import kl_divergence


def test_real_images_are_judged_as_by_hand(make_trainer, real_images, image_processor):
    trainer = make_trainer(eval_dataset=real_images, image_processor=image_processor)
    trainer.train()
    metrics = trainer.evaluate()
    ranked, labels = [], []
    for row in real_images.dataset:
        pixels = image_processor(row["image"].convert("RGB"), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            ranked.append(trainer.model.eval()(pixel_values=pixels).logits[0].argsort(descending=True).tolist())
        labels.append(row["label"])
    assert metrics["eval_top1"] == np.mean([label == row[0] for row, label in zip(ranked, labels)])
    assert metrics["eval_top5"] == np.mean([label in row[:5] for row, label in zip(ranked, labels)])
    assert "eval_agreement" not in metrics and trainer.judged_on == "real images"
    # All synthetic images are taught where none are needed for judging.
    assert len(trainer.train_dataset) == 18


@pytest.mark.parametrize("settings", [{}, {"augmentations": ["subset"]}, {"freeze_backbone": True, "num_views": 2}])
def test_held_out_images_are_judged_whole_by_agreement_and_not_taught(settings, make_trainer, teacher, images):
    taught = []
    trainer = make_trainer(held_out=0.25, **settings)
    batch = trainer.train_dataset.images.batch

    class Watched:
        def __len__(self):
            return 14

        def batch(self, numbers):
            taught.extend(numbers)
            return batch(numbers)

    trainer.train_dataset.images = Watched()
    trainer.train()
    assert set(taught) == set(range(14)) and len(images) == 18
    metrics = trainer.evaluate()
    held_out = images.part(14, 18)
    student = type(teacher.model)(trainer.model.eval())
    with torch.no_grad():
        answers = [model(held_out.pixels_BCHW, held_out.kept_BK).logits for model in (student, teacher.model)]
    choices = [logits.argmax(dim=-1) for logits in answers]
    assert metrics["eval_agreement"] == float((choices[0] == choices[1]).float().mean())
    assert metrics["eval_loss"] == pytest.approx(float(kl_divergence(*answers, 2.0)), rel=1e-4)
    assert metrics["eval_kl"] == pytest.approx(float(kl_divergence(*answers, 1.0)), rel=1e-4)
    assert trainer.judged_on == "held-out synthetic images"


@pytest.mark.parametrize("settings", [{}, {"freeze_backbone": True, "num_views": 2}])
def test_the_teacher_answers_held_out_images_once_and_a_frozen_backbone_too(settings, make_trainer, teacher):
    trainer = make_trainer(held_out=0.25, eval_strategy="epoch", augmentations=["flip"], **{"num_views": 1} | settings)
    counted = {"teacher": 0, "backbone": 0}

    def count(name):
        def hook(*_):
            counted[name] += 1

        return hook

    trainer.train()
    handles = [
        model.vit.layernorm.register_forward_hook(count(name))
        for name, model in (("teacher", teacher.model.model), ("backbone", trainer.model))
    ]
    assert trainer.evaluate() and trainer.evaluate()
    for handle in handles:
        handle.remove()
    assert counted == {"teacher": 0, "backbone": 0 if settings else 2}
