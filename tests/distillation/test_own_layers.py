"""Students of the teacher's own layers."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification

from smi_hf import SparseClassifier, Teacher, UsageError, student_of_layers
from smi_hf.distillation import StudentModel, StudentOrigin
from smi_hf.distillation.matching import compare
from smi_hf.distillation.students import make_student
from smi_hf.models import License
from smi_hf.models.blocks import find_blocks


@pytest.fixture
def deep(make_vit, image_processor):
    """A teacher of three layers, its images and labels those of the tiny one."""
    model = make_vit(num_hidden_layers=3)
    model.config.id2label = dict(enumerate(("cat", "dog", "owl", "fox", "bee")))
    return Teacher.from_model(model, image_processor, name="me/deep", revision="c0ffee")


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def test_the_student_is_the_teacher_without_some_layers_and_can_learn(deep):
    before = state(deep.model.model)
    student = student_of_layers(deep, [0, 2])
    assert [each.requires_grad for each in student.model.parameters()] == [True] * len([*student.model.parameters()])
    assert not any(each.requires_grad for each in deep.model.model.parameters())
    assert student.model.config.num_hidden_layers == 2
    assert torch.equal(student.model.classifier.weight, deep.model.model.classifier.weight)
    # It has nothing in common with the teacher that changing it would change.
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.zero_()
    student.image_processor.image_mean = [0.0, 0.0, 0.0]
    after = state(deep.model.model)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert deep.image_processor.image_mean != [0.0, 0.0, 0.0]


def test_its_origin_is_the_teacher(deep):
    origin = student_of_layers(replace(deep, license=License("mit")), [0, 2]).origin
    assert (origin.name, origin.revision, origin.license) == ("me/deep", "c0ffee", License("mit"))
    assert (origin.layers, origin.from_scratch, origin.has_new_head) == ((0, 2), False, False)
    assert student_of_layers(deep, (1,)).another(2).origin.layers == (1,)


def test_a_teacher_in_half_precision_has_a_student_in_float32(deep):
    deep.model.model.bfloat16()
    student = student_of_layers(deep, [1])
    assert {each.dtype for each in student.model.parameters()} == {torch.float32}
    assert {each.dtype for each in deep.model.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("layers", [[], [2, 0], [0, 3]])
def test_layers_that_there_are_not_are_refused(deep, layers):
    with pytest.raises(UsageError, match="ascending, each once, from 0 to 2"):
        student_of_layers(deep, layers)


def test_stock_transformers_reads_what_was_taught(teacher, run, folder):
    record = run(student=student_of_layers(teacher, [1]), hidden_state_weight=1.0)
    model, report = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.num_hidden_layers == 1
    assert list(model.config.id2label.values()) == teacher.label_names
    processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    assert processor.image_mean == teacher.image_processor.image_mean and processor.size == {"height": 32, "width": 32}
    assert record.settings["student_layers"] == [1]
    assert (record.student.name, record.student.from_scratch) == ("tiny-vit", False)
    card = (folder / "README.md").read_text()
    assert "started as `tiny-vit` without some of its layers." in card
    assert "It got these, numbered from 0: 1." in card
    # The same student is not taught again, and another one is no continuation of it.
    assert run(student=student_of_layers(teacher, [1]), hidden_state_weight=1.0) == record
    with pytest.raises(UsageError, match=r"student_layers was \[1\] and is now \[0\]"):
        run(student=student_of_layers(teacher, [0]), hidden_state_weight=1.0)


def silence(block: nn.Module) -> None:
    """Makes a layer that adds nothing to its input."""
    for name, weight in block.named_parameters():
        if "norm" not in name:
            nn.init.zeros_(weight)


@pytest.fixture
def hidden_loss(images, make_args):
    """The part of a student's loss that matches hidden states, on three images."""

    def measure(student: StudentModel, teacher: Teacher) -> torch.Tensor:
        batch = images.batch([0, 1, 2])
        patches = teacher.model.grid.cut(batch["pixel_values"], batch["kept_patches"])
        args, inputs = make_args(hidden_state_weight=1.0), {"labels": batch["labels"]}
        learner = make_student(student.model, teacher, layers=student.origin.layers)
        return compare(args, learner, teacher, student.model, patches, batch["kept_patches"], inputs)[1][
            "hidden_states"
        ]

    return measure


@pytest.mark.parametrize(("idle", "layers"), [((), (0, 1, 2)), ((1,), (0, 2)), ((2,), (0, 1)), ((1, 2), (0,))])
def test_without_layers_that_do_nothing_hidden_states_are_the_teachers(idle, layers, deep, hidden_loss):
    for layer in idle:
        silence(find_blocks(deep.model)[layer])
    assert float(hidden_loss(student_of_layers(deep, layers), deep).detach()) == pytest.approx(0, abs=1e-9)


def test_the_layer_before_one_that_has_gone_learns_to_stand_for_both(deep, hidden_loss):
    # After the last two layers nothing changes any more, so all that differs is what layer 1 did.
    silence(find_blocks(deep.model)[2])
    student = student_of_layers(deep, (0, 2))
    loss = hidden_loss(student, deep)
    assert float(loss.detach()) > 1e-3
    loss.backward()
    first = find_blocks(SparseClassifier(student.model))[0]
    assert all(float(weight.grad.norm()) > 0 for name, weight in first.named_parameters() if "key.bias" not in name)
    # What the student is not known to have is matched evenly: here its first layer with the second, too.
    unknown = replace(student, origin=StudentOrigin())
    assert float(hidden_loss(unknown, deep).detach()) == pytest.approx(float(loss.detach()))


def test_the_trainer_knows_which_layers_its_student_has(deep, make_trainer):
    assert make_trainer(model=student_of_layers(deep, (0, 2)), of=deep).student.layers == (0, 2)
    trainer = make_trainer(model=student_of_layers(deep, (1,)), of=deep, hidden_state_weight=1.0)
    before = state(trainer.student.model)
    trainer.train()
    after = state(trainer.student.model)
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_layers_that_the_student_has_not_are_refused_before_anything_runs(deep, make_trainer):
    student = student_of_layers(deep, (0, 2))
    student = replace(student, origin=replace(student.origin, layers=(0, 1, 2)))
    with pytest.raises(UsageError, match="origin says that it has the layers 0 1 2 of its teacher, but it has 2"):
        make_trainer(model=student, of=deep, hidden_state_weight=1.0)
