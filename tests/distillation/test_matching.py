"""The parts of a student's loss: weighted, named, and nothing where student and teacher agree."""

import pytest
import torch
from torch.nn import functional as F

from smi_hf.distillation.losses import ANSWER_LOSSES
from smi_hf.distillation.matching import answer_losses, compare
from smi_hf.distillation.students import make_student

WEIGHTS = {"hard_label_weight": 0.5, "feature_weight": 2.0, "hidden_state_weight": 3.0, "attention_weight": 4.0}


def logits(seed):
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(ANSWER_LOSSES))
def test_the_answers_loss_comes_first_and_has_no_weight(name, make_args):
    parts = answer_losses(make_args(loss=name, temperature=3.0), logits(0), logits(1), torch.tensor([0, 1, 2, 3]))
    assert list(parts) == [name]
    assert torch.equal(parts[name], ANSWER_LOSSES[name](logits(0), logits(1), 3.0))


def test_labels_count_where_there_are_some(make_args):
    args = make_args(hard_label_weight=0.5)
    labels = torch.tensor([0, -100, 4, -100])
    parts = answer_losses(args, logits(0), logits(1), labels)
    assert list(parts) == ["kl", "hard_labels"]
    assert parts["hard_labels"] == pytest.approx(0.5 * float(F.cross_entropy(logits(0)[[0, 2]], labels[[0, 2]])))
    # Of none, not a number would be the mean.
    assert answer_losses(args, logits(0), logits(1), torch.full((4,), -100))["hard_labels"] == 0


def test_answers_in_half_precision_are_compared_in_float32(make_args):
    labels = torch.tensor([0, 1, 2, 3])
    half = answer_losses(make_args(hard_label_weight=1.0), logits(0).bfloat16(), logits(1).bfloat16(), labels)
    whole = answer_losses(
        make_args(hard_label_weight=1.0), logits(0).bfloat16().float(), logits(1).bfloat16().float(), labels
    )
    for name, part in half.items():
        assert part.dtype == torch.float32 and torch.equal(part, whole[name])


@pytest.fixture
def compared(teacher, images):
    """Compares a model with the teacher on three images; what is given by name is among the inputs."""

    def run(model, args, **inputs):
        batch = images.batch([0, 1, 2])
        patches = teacher.model.grid.cut(batch["pixel_values"], batch["kept_patches"])
        inputs = {"labels": batch["labels"], **inputs}
        student = make_student(model, teacher)
        output, parts = compare(args, student, teacher, model, patches, batch["kept_patches"], inputs)
        return output, {name: part.detach() for name, part in parts.items()}

    return run


def test_a_student_that_is_its_teacher_has_nothing_to_match(compared, teacher, make_args):
    _, parts = compared(teacher.model.model, make_args(**WEIGHTS | {"hard_label_weight": 0.0}))
    assert list(parts) == ["kl", "features", "hidden_states", "attention"]
    for part in parts.values():
        # Float32 sums of the same values.
        assert float(part) == pytest.approx(0, abs=1e-5)


def test_parts_are_proportional_to_their_weights(compared, student, make_args):
    _, once = compared(student, make_args(**WEIGHTS))
    _, twice = compared(student, make_args(**{name: 2 * weight for name, weight in WEIGHTS.items()}))
    assert list(once) == ["kl", "hard_labels", "features", "hidden_states", "attention"]
    assert min(once.values()) > 0
    for name, part in once.items():
        assert float(twice[name]) == pytest.approx(float(part) * (1 if name == "kl" else 2), rel=1e-5)


def test_a_part_without_weight_changes_nothing_else(compared, student, make_args):
    output, every = compared(student, make_args(**WEIGHTS))
    for name, part in (("feature_weight", "features"), ("attention_weight", "attention")):
        plain_output, parts = compared(student, make_args(**WEIGHTS | {name: 0.0}))
        assert every.keys() - parts.keys() == {part}
        for other, value in parts.items():
            # Attention is looked at by another implementation, which sums in another order.
            assert float(value) == pytest.approx(float(every[other]), rel=1e-4, abs=1e-6)
        assert torch.allclose(plain_output.logits, output.logits, atol=1e-5)


def test_answers_that_were_computed_before_are_taken_and_the_teacher_is_not_asked(
    compared, student, teacher, make_args, monkeypatch
):
    _, expected = compared(student, make_args())
    with torch.no_grad():
        before, _ = compared(teacher.model.model, make_args())
    monkeypatch.setattr(teacher.model, "forward_patches", lambda *_, **__: pytest.fail("the teacher was asked"))
    _, parts = compared(student, make_args(), teacher_logits=before.logits)
    assert float(parts["kl"]) == pytest.approx(float(expected["kl"]), rel=1e-5)


def test_both_models_attend_afterwards_as_they_did_before(compared, student, teacher, make_args):
    models = (student, teacher.model.model)
    before = [model.config._attn_implementation for model in models]
    compared(student, make_args(attention_weight=1.0))
    assert [model.config._attn_implementation for model in models] == before
