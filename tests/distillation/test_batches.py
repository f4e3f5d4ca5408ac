"""What a trainer iterates over: parts of datasets, views and real images."""

import itertools

import pytest
import torch

from smi_hf import UsageError
from smi_hf.distillation.batches import Answers, RealImages, Views, split
from smi_hf.images.kept import sparse_images
from smi_hf.models.preprocessing import preprocess


def test_too_few_images_to_hold_some_out_are_refused(make_trainer, make_images):
    with pytest.raises(UsageError, match="the dataset has 1 images, too few to hold 1 out"):
        make_trainer(train_dataset=make_images(1))


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("held_out", "count"), [(0.0, 0), (0.01, 1), (0.4, 2), (0.5, 3), (0.8, 5)])
def test_the_last_images_are_held_out_and_none_is_lost(dataset, held_out, count):
    train, judge = split(dataset, held_out)
    assert (len(train), len(judge)) == (6 - count, count)
    batches = [part.batch(list(range(len(part)))) for part in (train, judge) if len(part)]
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    assert equal(joined, dataset.batch(range(6)))


def test_a_dataset_is_split_as_its_images_in_memory_are(dataset):
    for on_disk, in_memory in zip(split(dataset, 0.4), split(sparse_images(dataset), 0.4)):
        assert len(on_disk) == len(in_memory)
        assert equal(on_disk.batch([1, 0]), in_memory.batch([1, 0]))


@pytest.mark.parametrize("num_views", [1, 3])
def test_each_view_of_each_image_is_there_once(images, num_views):
    views = Views(images, num_views)
    batch = views.collate([views[item] for item in range(len(views))])
    seen = list(zip(batch["image_index"].tolist(), batch["view"].tolist()))
    assert sorted(seen) == list(itertools.product(range(len(images)), range(num_views)))
    assert torch.equal(batch["pixel_values"], images.pixels_BCHW[batch["image_index"]])
    assert torch.equal(batch["labels"], images.labels_B[batch["image_index"]])


def test_without_fixed_views_each_image_is_there_once(images):
    assert len(Views(images, 0)) == len(images)
    assert Views(images, 0).collate([4, 2])["image_index"].tolist() == [4, 2]


def test_answers_come_with_their_views_and_images_only_where_somebody_looks_at_them(images):
    views = Views(images, 2)
    teacher_nVL = torch.arange(18 * 2 * 5).reshape(18, 2, 5)
    views.answers = Answers(teacher_nVL, images.labels_B, None)
    batch = views.collate([7, 0])
    assert torch.equal(batch["teacher_logits"], torch.stack([teacher_nVL[3, 1], teacher_nVL[0, 0]]))
    assert torch.equal(batch["pixel_values"], images.pixels_BCHW[[3, 0]])
    views.answers = Answers(teacher_nVL, images.labels_B, summary_nVSD=teacher_nVL[..., None])
    batch = views.collate([7, 0])
    assert batch.keys() == {"image_index", "view", "teacher_logits", "summary", "labels"}
    assert torch.equal(batch["summary"][0], teacher_nVL[3, 1][:, None])
    assert torch.equal(batch["labels"], images.labels_B[[3, 0]])


def test_real_images_are_shown_as_the_students_image_processor_makes_them(real_images, image_processor):
    batch = RealImages(real_images, image_processor).collate([3, 1])
    pictures, labels = real_images.batch([3, 1])
    assert torch.equal(batch["pixel_values"], torch.from_numpy(preprocess(pictures, image_processor)))
    assert batch["labels"].tolist() == labels.tolist() == [3, 1]


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
