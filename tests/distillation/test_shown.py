"""Students that are shown tiles, above all those of other kinds, which no kept patches alone can be shown."""

from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    ConvNextConfig,
    MobileNetV2Config,
    ResNetConfig,
    SwinConfig,
    ViTImageProcessor,
)

from smi_hf import UsageError
from smi_hf.distillation import load_student
from smi_hf.distillation.shown import as_tiles, label_as_shown
from smi_hf.evaluation.record import ModelRecord
from smi_hf.images.kept import sparse_images
from smi_hf.images.tiles import tile_images

CONFIGS = {
    "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
    "mobilenet_v2": MobileNetV2Config(image_size=32, depth_multiplier=0.1),
    "convnext": ConvNextConfig(image_size=32, patch_size=4, hidden_sizes=[8, 16], depths=[1, 1], num_stages=2),
    "swin": SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4),
}


@pytest.fixture(params=CONFIGS)
def checkpoint(request, tmp_path):
    """A checkpoint of another kind with weights, labels and a normalization of its own, and its kind."""
    folder = tmp_path / request.param
    torch.manual_seed(1)
    config = type(CONFIGS[request.param])(**CONFIGS[request.param].to_dict() | {"num_labels": 3})
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    processor = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.4] * 3, image_std=[0.2] * 3)
    processor.save_pretrained(folder)
    return request.param, folder


@pytest.mark.parametrize("shown", ["kept", "tiled"])
def test_a_checkpoint_of_another_kind_is_taught_from_its_own_weights(checkpoint, shown, run, teacher, folder):
    kind, path = checkpoint
    student = load_student(str(path), teacher)
    began = {name: value.clone() for name, value in student.model.base_model.named_parameters()}
    record = run(student=student, shown=shown, max_steps=2, learning_rate=1e-5, per_device_train_batch_size=2)
    assert (record.student.model_type, record.student.from_scratch) == (kind, False)
    assert record.student.sees == {"kept": "filled images", "tiled": "tiled patches"}[shown]
    taught = AutoModelForImageClassification.from_pretrained(folder)
    assert taught.config.id2label == dict(enumerate(teacher.label_names))
    # Two steps of Adam move a weight by at most about twice the learning rate.
    learned = dict(taught.base_model.named_parameters())
    assert all(torch.allclose(learned[name], value, rtol=0, atol=1e-4) for name, value in began.items())
    assert any(not torch.equal(learned[name], value) for name, value in began.items())


def test_teacher_and_student_are_shown_the_same_tiles(make_trainer, images, teacher, student):
    tiles = tile_images(images, teacher.model.grid)
    assert len(tiles) < len(images)
    options = {"held_out": 0.5, "augmentations": ["none"], "temperature": 1.0, "per_device_eval_batch_size": 18}
    with torch.no_grad():
        judged = tile_images(images.part(9, 18), teacher.model.grid).pixels_BCHW
        answers = (
            model(pixel_values=judged).logits.log_softmax(-1) for model in (student.eval(), teacher.model.model)
        )
        mine, its = answers
    expected = (its.exp() * (its - mine)).sum(-1).mean()
    assert make_trainer(shown="tiled", **options).evaluate()["eval_loss"] == pytest.approx(float(expected), rel=1e-4)


def test_no_image_that_is_held_out_is_on_a_tile_that_teaches(make_trainer, images, teacher):
    numbers = torch.arange(len(images), dtype=torch.float32)[:, None, None, None].expand(-1, 3, 32, 32)
    trainer = make_trainer(train_dataset=replace(images, pixels_BCHW=numbers), shown="tiled", held_out=0.3)
    taught, judged = (
        set(views.images.pixels_BCHW.unique().tolist()) for views in (trainer.train_dataset, trainer.eval_dataset)
    )
    assert (taught, judged) == ({*map(float, range(13))}, {*map(float, range(13, 18))})


def test_the_record_and_its_card_say_that_tiles_taught(run, folder):
    record = run(shown="tiled", max_steps=1)
    assert record.settings["shown"] == "tiled"
    assert (record.student.sees, record.datasets[0].num_images) == ("tiled patches", 6)
    assert "saw their tiled patches" in (folder / "README.md").read_text()
    assert ModelRecord.load(folder) == record
    with pytest.raises(UsageError, match="shown was 'tiled' and is now 'kept'"):
        run(max_steps=1)


def test_rows_say_what_was_tiled(run, real_images):
    record = run(images=real_images, controls=["filled", "gaussian"], shown="tiled", max_steps=1)
    assert [row.label for row in record.rows[1:]] == ["inverted, tiled", "inverted, gaps black", "Gaussian noise"]


def test_whole_images_are_no_tiles(dataset, teacher):
    grid = teacher.model.grid
    sparse = sparse_images(dataset)
    whole = replace(sparse, kept_BK=grid.all_patches(len(sparse)), source="inverted, dense")
    assert torch.equal(as_tiles(whole, grid, seed=3).pixels_BCHW, whole.pixels_BCHW)
    assert label_as_shown(whole, grid, "tiled") == "inverted, dense"
    assert label_as_shown(sparse, grid, "tiled") == "inverted, tiled"
    assert label_as_shown(sparse, grid, "kept") == sparse.source


def test_a_way_of_showing_that_there_is_not_is_refused(make_args):
    with pytest.raises(UsageError, match=r"no way of showing images 'tilde'.*available: kept, tiled"):
        make_args(shown="tilde")


@pytest.mark.parametrize("changes", [{"per_device_train_batch_size": 3}, {"per_device_train_batch_size": 1}])
def test_a_last_batch_of_one_image_is_refused_where_a_batch_normalizes(checkpoint, run, teacher, folder, changes):
    kind, path = checkpoint
    student = load_student(str(path), teacher)
    if kind in ("convnext", "swin"):
        assert run(student=student, **changes).student.model_type == kind
        return
    with pytest.raises(
        UsageError, match=r"4 views in batches of \d leave one image to the last.*another per_device_tr"
    ):
        run(student=student, **changes)
    assert not folder.exists()


@pytest.mark.parametrize(
    "changes",
    [{"dataloader_drop_last": True, "per_device_eval_batch_size": 2}, {"freeze_backbone": True, "num_views": 1}],
)
def test_a_last_batch_of_one_image_does_no_harm_where_none_is_learned_from(run, teacher, changes, resnet_checkpoint):
    run(student=load_student(str(resnet_checkpoint), teacher), num_train_epochs=1, **changes)
