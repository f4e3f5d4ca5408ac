"""Answers that are computed once, whichever process computes them."""

import pytest
import torch

from smi_hf.distillation import answers as answers_module
from smi_hf.distillation.answers import answer_views
from smi_hf.distillation.batches import Views


def test_a_frozen_backbone_runs_once_for_each_view(make_trainer):
    trainer = make_trainer(freeze_backbone=True, num_views=2, num_train_epochs=3)
    seen = []
    trainer.model.vit.layernorm.register_forward_hook(lambda module, arguments, output: seen.append(len(output)))
    trainer.train()
    assert sum(seen) == 2 * 16


def test_fixed_views_run_the_teacher_once(make_trainer, teacher):
    seen = []
    teacher.model.model.register_forward_hook(lambda module, arguments, output: seen.append(len(output.logits)))
    make_trainer(num_views=2, num_train_epochs=4).train()
    assert sum(seen) == 2 * 16


def views_of(make_images, num_images=40, num_views=4):
    return Views(make_images(num_images), num_views)


def answer(batch):
    """Logits that say which view of which image they answer; the labels that the batch has."""
    places_BL = torch.stack([batch["image_index"], batch["view"]], dim=1).float()
    return places_BL, batch["labels"], None


def test_answers_are_found_by_image_and_view(make_images):
    views = views_of(make_images)
    answers = answer_views(views, answer, process=0, num_processes=1, disable_tqdm=True)
    image, view = torch.meshgrid(torch.arange(40), torch.arange(4), indexing="ij")
    assert torch.equal(answers.teacher_nVL, torch.stack([image, view], dim=-1).float())
    assert torch.equal(answers.labels_n, views.images.labels_B)
    assert answers.summary_nVSD is None


@pytest.mark.parametrize("num_processes", [2, 3, 5])
def test_processes_that_share_the_work_have_the_answers_of_one(make_images, monkeypatch, num_processes):
    """Each process is run by itself, and is told what a single one would have computed."""
    views, every, mine = views_of(make_images), [], []

    def with_summary(batch):
        return *answer(batch)[:2], batch["view"].float()[:, None, None].expand(-1, 2, 3)

    monkeypatch.setattr(answers_module, "gather_object", lambda found: every.extend(found) or found)
    alone = answer_views(views, with_summary, process=0, num_processes=1, disable_tqdm=True)
    # Whoever is heard first.
    monkeypatch.setattr(answers_module, "gather_object", lambda found: mine.extend(found) or every[::-1])
    for process in range(num_processes):
        shared = answer_views(views, with_summary, process=process, num_processes=num_processes, disable_tqdm=True)
        for name in ("teacher_nVL", "labels_n", "summary_nVSD"):
            assert torch.equal(getattr(shared, name), getattr(alone, name))
    # No view was asked about twice, and none was forgotten.
    assert [number for number, _ in sorted(mine, key=lambda pair: pair[0])] == [number for number, _ in every]
    for (_, found), (_, expected) in zip(sorted(mine, key=lambda pair: pair[0]), every):
        assert all(torch.equal(one, other) for one, other in zip(found, expected))
