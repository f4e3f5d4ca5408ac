import copy
import json
import re
import warnings

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    ResNetConfig,
    ResNetForImageClassification,
    TrainerCallback,
)

from smi_hf import RunError, Teacher, UsageError, load_sparse_dataset
from smi_hf.distillation import SparseDistillationTrainer
from smi_hf.distillation.checkpoints import SETTINGS_FILE
from smi_hf.distillation.losses import kl_divergence
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.kept import KeptImages

NO_VIEWS = {"augmentations": ["none"]}
# Float32 sums in another order, and Trainer's rounding of what it logs to 4 digits.
CLOSE = {"abs": 2e-4}


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def largest_difference(one, other):
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


def make_resnet():
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    config.num_labels = 5
    torch.manual_seed(0)
    return ResNetForImageClassification(config)


@pytest.fixture
def answers_at_each_step(monkeypatch):
    """Makes trainers run teacher and backbone at every step where they would have answered once."""

    def switch_off():
        monkeypatch.setattr(SparseDistillationTrainer, "_answer_all", lambda self, views, augmentations: None)

    return switch_off


# What is learned


def test_training_lowers_the_loss_and_raises_agreement(make_trainer, make_images, losses):
    trainer = make_trainer(
        train_dataset=make_images(60, num_kept=8), optim="adamw_torch", num_train_epochs=20, learning_rate=3e-3
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    curve = losses(trainer)
    assert np.mean(curve[-10:]) < 0.5 * np.mean(curve[:10])
    assert after["eval_loss"] < before["eval_loss"]
    assert after["eval_agreement"] > before["eval_agreement"]


def test_the_first_loss_is_that_of_the_untrained_student_on_the_kept_patches(
    make_trainer, student, teacher, images, losses
):
    trainer = make_trainer(train_dataset=images, max_steps=1, per_device_train_batch_size=16, **NO_VIEWS)
    trainer.train()
    shown = images.part(0, 16)
    student.eval()
    with torch.no_grad():
        answers = [
            type(teacher.model)(model)(shown.pixels_BCHW, shown.kept_BK).logits
            for model in (student, teacher.model.model)
        ]
    assert losses(trainer)[0] == pytest.approx(float(kl_divergence(*answers, 2.0)), **CLOSE)


def test_what_stands_in_pruned_patches_changes_nothing(make_trainer, teacher, images):
    grid = teacher.model.grid
    shown = grid.paste(torch.ones(len(images), 6, 3, 8, 8), images.kept_BK).bool()
    loud = KeptImages(images.pixels_BCHW.where(shown, torch.tensor(1e4)), images.kept_BK, "loud", images.labels_B)
    taught = []
    for each in (images, loud):
        trainer = make_trainer(train_dataset=each)
        trainer.train()
        taught.append(weights(trainer.model))
    assert largest_difference(*taught) == 0


@pytest.mark.parametrize("augmentations", [["flip", "shift", "color"], ["subset", "color"]])
@pytest.mark.parametrize("loss", ["kl", "jsd", "mse"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_any_view(
    augmentations, loss, make_trainer, teacher, losses
):
    model = copy.deepcopy(teacher.model.model).requires_grad_(True)
    before = weights(model)
    trainer = make_trainer(model=model, augmentations=augmentations, loss=loss)
    trainer.train()
    assert losses(trainer) == pytest.approx([0.0] * 8, **CLOSE)
    assert largest_difference(weights(model), before) < 1e-5
    assert trainer.evaluate()["eval_agreement"] == 1.0


def test_the_teacher_gets_no_gradient_and_stays_as_it_is(make_trainer, teacher):
    before = weights(teacher.model.model)
    modes = []
    teacher.model.model.register_forward_hook(lambda module, *_: modes.append(module.training))
    make_trainer(feature_weight=1.0, attention_weight=1.0, eval_strategy="epoch").train()
    assert modes and not any(modes) and not any(module.training for module in teacher.model.modules())
    assert largest_difference(weights(teacher.model.model), before) == 0
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.model.parameters())


def test_labels_are_taught_beside_the_answers(make_trainer, images, student, losses):
    trainer = make_trainer(hard_label_weight=0.5, max_steps=1, per_device_train_batch_size=16, **NO_VIEWS)
    trainer.train()
    (entry,) = (entry for entry in trainer.state.log_history if "loss" in entry)
    shown = images.part(0, 16)
    with torch.no_grad():
        logits = trainer.student.sparse.__class__(student.eval())(shown.pixels_BCHW, shown.kept_BK).logits
    expected = 0.5 * float(torch.nn.functional.cross_entropy(logits, shown.labels_B))
    assert entry["loss_hard_labels"] == pytest.approx(expected, abs=1e-5)
    assert entry["loss"] == pytest.approx(entry["loss_kl"] + entry["loss_hard_labels"], **CLOSE)


def test_images_without_labels_teach_their_answers_alone(make_trainer, teacher, losses):
    noise = gaussian_noise(teacher.model, 10)
    with_labels = make_trainer(train_dataset=noise, hard_label_weight=1.0)
    with_labels.train()
    without = make_trainer(train_dataset=noise)
    without.train()
    assert losses(with_labels) == pytest.approx(losses(without), **CLOSE)


def test_matched_parts_are_logged_by_name_and_their_sum_is_the_loss(make_trainer):
    trainer = make_trainer(feature_weight=2.0, attention_weight=0.5, hidden_state_weight=3.0)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(entries) == 8
    for entry in entries:
        parts = {name: value for name, value in entry.items() if name.startswith("loss_")}
        assert parts.keys() == {"loss_kl", "loss_features", "loss_attention", "loss_hidden_states"}
        assert min(parts.values()) > 0
        assert entry["loss"] == pytest.approx(sum(parts.values()), **CLOSE)


def test_a_loss_of_one_part_is_logged_once(make_trainer):
    trainer = make_trainer()
    trainer.train()
    assert not [name for entry in trainer.state.log_history for name in entry if name.startswith("loss_")]


@pytest.mark.parametrize("part", ["feature", "attention", "hidden_state"])
def test_matching_a_part_brings_it_closer(part, make_trainer):
    trainer = make_trainer(
        **{f"{part}_weight": 10.0}, num_train_epochs=10, learning_rate=3e-3, optim="adamw_torch", **NO_VIEWS
    )
    trainer.train()
    name = {"feature": "loss_features", "attention": "loss_attention", "hidden_state": "loss_hidden_states"}[part]
    curve = [entry[name] for entry in trainer.state.log_history if name in entry]
    assert np.mean(curve[-4:]) < 0.8 * np.mean(curve[:4])


def test_matched_parts_take_a_student_of_another_width_and_prefix(make_trainer):
    torch.manual_seed(0)
    config = DeiTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=5,
    )
    model = DeiTForImageClassificationWithTeacher(config)
    implementation = model.config._attn_implementation
    make_trainer(model=model, feature_weight=1.0, attention_weight=1.0).train()
    assert model.config._attn_implementation == implementation


# A frozen backbone


def test_with_a_frozen_backbone_the_head_alone_learns(make_trainer, student):
    before = weights(student)
    trainer = make_trainer(freeze_backbone=True, num_views=2)
    learning = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert learning == {"classifier.weight", "classifier.bias"}
    trainer.train()
    after = weights(trainer.model)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == learning


def test_a_frozen_convolutional_backbone_keeps_its_running_means(make_trainer):
    model = make_resnet()
    before = weights(model)
    trainer = make_trainer(model=model, freeze_backbone=True, num_views=2, eval_strategy="epoch")
    trainer.train()
    changed = {name for name, value in weights(trainer.model).items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}


def test_dropout_of_a_frozen_backbone_stays_off(make_trainer, make_vit, losses, answers_at_each_step):
    dropped = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
    curves = []
    for changes in ({}, dropped):
        trainer = make_trainer(model=make_vit(**changes), freeze_backbone=True, num_views=2)
        trainer.train()
        curves.append(losses(trainer))
    assert curves[0] == curves[1]
    answers_at_each_step()
    trainer = make_trainer(model=make_vit(**dropped), freeze_backbone=True, num_views=2)
    trainer.train()
    assert losses(trainer) == pytest.approx(curves[0], **CLOSE)


def test_what_is_computed_once_for_a_frozen_backbone_is_what_each_step_would_compute(
    make_trainer, losses, answers_at_each_step
):
    settings = {"freeze_backbone": True, "num_views": 3, "hard_label_weight": 0.1, "num_train_epochs": 3}
    once = make_trainer(**settings)
    once.train()
    assert once.train_dataset.answers.summary_nVSD.shape == (16, 3, 2, 24)
    answers_at_each_step()
    each_step = make_trainer(**settings)
    each_step.train()
    assert each_step.train_dataset.answers is None
    assert losses(once) == pytest.approx(losses(each_step), **CLOSE)
    assert len(losses(once)) == 3 * 16 * 3 / 4
    assert largest_difference(weights(once.model), weights(each_step.model)) < 1e-5


# Answers computed once


@pytest.mark.parametrize("views", [NO_VIEWS, {"num_views": 3}])
def test_answers_computed_once_are_those_of_each_step(views, make_trainer, losses, answers_at_each_step):
    once = make_trainer(**views)
    once.train()
    answers_at_each_step()
    each_step = make_trainer(**views)
    each_step.train()
    assert each_step.train_dataset.answers is None
    assert losses(once) == pytest.approx(losses(each_step), **CLOSE)
    assert largest_difference(weights(once.model), weights(each_step.model)) < 1e-5


def test_without_fixed_views_every_epoch_shows_another_view(make_trainer, teacher):
    shown = []
    forward = teacher.model.forward_patches

    def watch(patches, kept, **kwargs):
        shown.append(patches.flatten(1).sum(dim=1))
        return forward(patches, kept, **kwargs)

    teacher.model.forward_patches = watch
    make_trainer(augmentations=["color"], num_train_epochs=3).train()
    assert len(torch.cat(shown).unique()) == 3 * 16


# Steps and processes


def test_accumulating_2_batches_of_4_is_a_batch_of_8(make_trainer, losses):
    whole = make_trainer(per_device_train_batch_size=8, hard_label_weight=0.1)
    whole.train()
    parts = make_trainer(per_device_train_batch_size=4, gradient_accumulation_steps=2, hard_label_weight=0.1)
    parts.train()
    assert losses(parts) == pytest.approx(losses(whole), **CLOSE)
    assert largest_difference(weights(parts.model), weights(whole.model)) < 1e-5
    names = ("loss_kl", "loss_hard_labels")
    for one, other in zip(whole.state.log_history[:-1], parts.state.log_history[:-1]):
        assert [other[name] for name in names] == pytest.approx([one[name] for name in names], **CLOSE)


@pytest.mark.parametrize("precision", ["bf16"])
def test_mixed_precision_trains(precision, make_trainer, losses):
    plain = make_trainer()
    plain.train()
    for settings in ({}, {"freeze_backbone": True, "num_views": 1}):
        mixed = make_trainer(**{precision: True}, **settings)
        mixed.train()
        # bfloat16 has 3 digits.
        assert np.isfinite(losses(mixed)).all()
        if not settings:
            assert losses(mixed) == pytest.approx(losses(plain), rel=0.1)
        assert all(weight.dtype == torch.float32 for weight in mixed.model.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_views": 2},
        {"freeze_backbone": True, "num_views": 2},
        {"feature_weight": 1.0, "attention_weight": 1.0, "hidden_state_weight": 1.0},
    ],
    ids=["new views", "fixed views", "frozen backbone", "matched parts"],
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(settings, make_trainer, tmp_path):
    settings = {"optim": "adamw_torch", "lr_scheduler_type": "linear", "num_train_epochs": 3, **settings}
    whole = make_trainer(**settings, output_dir=str(tmp_path / "whole"))
    whole.train()
    # In the middle of the second epoch.
    steps = whole.state.max_steps // 2

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == steps

    saving = {"save_strategy": "steps", "save_steps": steps}
    make_trainer(**settings, **saving, callbacks=[Stop()]).train()
    resumed = make_trainer(**settings, **saving)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step
    assert largest_difference(weights(resumed.model), weights(whole.model)) == 0


def test_a_run_with_other_settings_is_not_resumed_and_what_changed_is_named(make_trainer):
    saving = {"save_strategy": "epoch", "num_train_epochs": 1}
    make_trainer(**saving).train()
    changed = make_trainer(**saving, temperature=5.0, augmentations=["flip"], held_out=0.5)
    with pytest.raises(UsageError, match="was made with other settings") as error:
        changed.train(resume_from_checkpoint=True)
    for part in ("temperature was 2.0 and is now 5.0", "augmentations was ['flip', 'shift', 'color'] and is now ["):
        assert part in str(error.value)
    assert "num_images was 16 and is now 9" in str(error.value)
    assert "loss was" not in str(error.value)


def test_resuming_where_there_is_nothing_to_resume_is_refused(make_trainer, tmp_path):
    for where in (True, str(tmp_path / "elsewhere")):
        with pytest.raises(UsageError, match="there is no complete checkpoint of a distillation to resume from in"):
            make_trainer().train(resume_from_checkpoint=where)


def test_more_epochs_continue_a_run(make_trainer):
    saving = {"save_strategy": "epoch"}
    make_trainer(**saving, num_train_epochs=1).train()
    longer = make_trainer(**saving, num_train_epochs=2)
    longer.train(resume_from_checkpoint=True)
    assert longer.state.global_step == 8


@pytest.mark.parametrize("settings", [{}, {"freeze_backbone": True, "num_views": 1}])
def test_a_loss_that_is_not_finite_stops_the_run_and_says_where_and_what_to_do(settings, make_trainer):
    trainer = make_trainer(learning_rate=1e38, num_train_epochs=5, **settings)
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step [1-9]\d* .*lower the learning rate \(1e\+38\)"):
        trainer.train()


def test_a_poisoned_weight_is_noticed_at_step_0_by_the_part_it_spoils(make_trainer, student):
    with torch.no_grad():
        student.classifier.weight[0, 0] = float("nan")
    with pytest.raises(RunError, match=r"the loss is nan at step 0 \(kl nan, hard_labels nan\)"):
        make_trainer(hard_label_weight=1.0).train()


# What fits what


def test_a_dataset_of_another_teacher_is_refused_by_name_unless_it_is_meant(
    make_trainer, make_vit, sparse_folder, image_processor
):
    dataset = load_sparse_dataset(sparse_folder)
    other = Teacher.from_model(make_vit(7), image_processor, name="somebody/else")
    with pytest.raises(UsageError, match=r"inverted from 'tiny-vit' .* not those of 'somebody/else'"):
        make_trainer(of=other, train_dataset=dataset)
    make_trainer(of=other, train_dataset=dataset, other_teacher=True).train()


def test_a_sparse_dataset_teaches_as_its_images_in_memory_do(make_trainer, sparse_folder, kept_images, losses):
    curves = []
    for images in (load_sparse_dataset(sparse_folder), kept_images):
        trainer = make_trainer(train_dataset=images, hard_label_weight=0.1, per_device_train_batch_size=2)
        trainer.train()
        curves.append(losses(trainer))
    assert curves[0] == curves[1] and len(curves[0]) == 2 * 3


def test_images_of_another_grid_are_refused(make_trainer, make_vit, sparse_folder, image_processor):
    other = Teacher.from_model(make_vit(patch_size=16), image_processor)
    with pytest.raises(UsageError, match="in patches of 8x8 px, but the model has"):
        make_trainer(of=other, train_dataset=load_sparse_dataset(sparse_folder), other_teacher=True)


@pytest.mark.parametrize("name", ["feature_weight", "attention_weight", "hidden_state_weight"])
def test_matching_parts_is_refused_where_there_is_nothing_to_match(name, make_trainer, make_args):
    with pytest.raises(UsageError, match="compare tokens, but this student is shown filled images; leave it out"):
        make_trainer(model=make_resnet(), **{name: 1.0})
    with pytest.raises(UsageError, match="teach the backbone, but freeze_backbone lets only the head learn"):
        make_args(freeze_backbone=True, **{name: 1.0})


def test_a_dataset_that_is_streamed_is_refused(make_trainer, sparse_folder):
    with pytest.raises(UsageError, match="distillation needs images by number, and this dataset is streamed"):
        make_trainer(train_dataset=load_sparse_dataset(sparse_folder, streaming=True))


@pytest.mark.parametrize("name", ["data_collator", "compute_loss_func"])
def test_what_the_trainer_decides_itself_is_refused(name, teacher, student, images, make_args):
    with pytest.raises(UsageError, match=f"{name} is not taken: "):
        SparseDistillationTrainer(student, teacher, make_args(), images, **{name: print})


# Judging


def test_real_images_need_an_image_processor(make_trainer, real_images):
    with pytest.raises(UsageError, match="eval_dataset of real images needs the student's image_processor"):
        make_trainer(eval_dataset=real_images)


def test_the_best_model_can_be_kept(make_trainer, real_images, image_processor):
    trainer = make_trainer(
        eval_dataset=real_images,
        image_processor=image_processor,
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=4,
        learning_rate=0.1,
        load_best_model_at_end=True,
        metric_for_best_model="top1",
    )
    trainer.train()
    tops = [entry["eval_top1"] for entry in trainer.state.log_history if "eval_top1" in entry]
    assert len(tops) == 4
    assert trainer.evaluate()["eval_top1"] == max(tops) == trainer.state.best_metric


# What a user gets


def test_a_process_that_should_not_save_completes_nothing(make_trainer, monkeypatch, tmp_path):
    trainer = make_trainer()
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    trainer._save(str(tmp_path / "saved"))
    assert not (tmp_path / "saved" / SETTINGS_FILE).exists()


def test_a_saved_student_is_loaded_by_transformers_alone(make_trainer, image_processor, tmp_path):
    trainer = make_trainer(image_processor=image_processor)
    trainer.train()
    trainer.save_model(tmp_path / "saved")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "saved")
    assert largest_difference(weights(loaded), weights(trainer.model)) == 0
    processor = AutoImageProcessor.from_pretrained(tmp_path / "saved", use_fast=False)
    assert processor.size == image_processor.size
    settings = json.loads((tmp_path / "saved" / SETTINGS_FILE).read_text())
    assert settings["teacher"] == "tiny-vit" and settings["temperature"] == 2.0


def test_callbacks_are_called(make_trainer):
    class Count(TrainerCallback):
        steps, evaluations = 0, 0

        def on_step_end(self, *args, **kwargs):
            self.steps += 1

        def on_evaluate(self, args, state, control, metrics, **kwargs):
            assert "eval_agreement" in metrics
            self.evaluations += 1

    count = Count()
    make_trainer(callbacks=[count], eval_strategy="epoch").train()
    assert (count.steps, count.evaluations) == (8, 2)


def test_a_student_is_shown_pixels_in_its_image_processors_normalisation(make_trainer, image_processor, losses):
    # Of 0.25 instead of 0.5: twice the values, which the first layer halves again.
    curves = []
    for factor in (1.0, 2.0):
        processor = copy.deepcopy(image_processor)
        processor.image_std = [std / factor for std in processor.image_std]
        trainer = make_trainer(image_processor=processor, freeze_backbone=True, num_views=2)
        with torch.no_grad():
            trainer.model.vit.embeddings.patch_embeddings.projection.weight /= factor
        trainer.train()
        curves.append(losses(trainer))
    assert curves[0] == pytest.approx(curves[1], **CLOSE)


def test_any_classifier_can_learn(make_trainer, losses):
    trainer = make_trainer(model=make_resnet(), num_train_epochs=10, optim="adamw_torch")
    trainer.train()
    curve = losses(trainer)
    assert np.mean(curve[-4:]) < np.mean(curve[:4])
    assert trainer.student.sees == "filled images"


@pytest.mark.parametrize(
    "settings",
    [{}, {"freeze_backbone": True, "num_views": 2}, {"feature_weight": 1.0, "attention_weight": 1.0}],
    ids=["plain", "frozen backbone", "matched parts"],
)
def test_a_run_warns_of_nothing_and_prints_nothing(settings, make_trainer, caplog, capfd, image_processor):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make_trainer(
            eval_strategy="epoch", save_strategy="epoch", image_processor=image_processor, **settings
        )
        trainer.train()
        trainer.evaluate()
        trainer.save_model()
    assert [str(warning.message) for warning in caught] == []
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []
    printed = "".join(capfd.readouterr())
    # Trainer prints what it logs where there is no bar to do so, and transformers 5 counts the shards that it writes.
    rest = re.sub(r"\{.*\}|Writing model shards:[^\r\n]*", "", printed).strip()
    assert rest == ""
