import math

import pytest
import torch
from torch.nn import functional as F

from smi_hf.distillation.losses import (
    ANSWER_LOSSES,
    attention_divergence,
    feature_error,
    hidden_state_error,
    jensen_shannon,
    kl_divergence,
    logit_error,
)

every_loss = pytest.mark.parametrize("loss", ANSWER_LOSSES.values(), ids=ANSWER_LOSSES)
every_temperature = pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])


def logits(seed: int, scale: float = 3.0) -> torch.Tensor:
    """Random logits of 4 images and 7 labels."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(4, 7, generator=generator, dtype=torch.float64)


@every_loss
@every_temperature
def test_equal_answers_cost_nothing_and_others_something(loss, temperature):
    assert float(loss(logits(0), logits(0), temperature)) == pytest.approx(0, abs=1e-12)
    assert float(loss(logits(0), logits(1), temperature)) > 1e-3


@every_loss
@every_temperature
def test_a_constant_added_to_an_images_logits_changes_nothing(loss, temperature):
    constants = torch.tensor([[5.0], [-2.0], [0.0], [100.0]])
    expected = float(loss(logits(0), logits(1), temperature))
    # 100 in float64 leaves 14 digits of the logits.
    assert float(loss(logits(0) + constants, logits(1), temperature)) == pytest.approx(expected, rel=1e-9)
    assert float(loss(logits(0), logits(1) - constants, temperature)) == pytest.approx(expected, rel=1e-9)


@every_loss
@every_temperature
def test_following_the_gradient_down_ends_at_the_teachers_answer(loss, temperature):
    student = logits(0, scale=1.0).requires_grad_()
    teacher = logits(1, scale=1.0)
    optimizer = torch.optim.LBFGS([student], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        value = loss(student, teacher, temperature)
        value.backward()
        return value

    optimizer.step(closure)
    assert torch.allclose(student.softmax(dim=-1), teacher.softmax(dim=-1), atol=1e-3)


@every_loss
def test_the_teacher_gets_the_same_loss_whatever_the_order_of_images_and_each_image_counts_alike(loss):
    student, teacher = logits(0), logits(1)
    alone = [float(loss(student[[image]], teacher[[image]], 2.0)) for image in range(4)]
    assert float(loss(student, teacher, 2.0)) == pytest.approx(sum(alone) / 4)


@every_temperature
def test_kl_is_torchs_divergence_of_teacher_from_student_times_the_squared_temperature(temperature):
    student, teacher = (torch.distributions.Categorical(logits=logits(seed) / temperature) for seed in (0, 1))
    expected = temperature**2 * torch.distributions.kl_divergence(teacher, student).mean()
    assert torch.allclose(kl_divergence(logits(0), logits(1), temperature), expected)


@every_temperature
def test_the_gradient_of_kl_is_the_difference_of_the_softened_answers(temperature):
    student = logits(0).requires_grad_()
    kl_divergence(student, logits(1), temperature).backward()
    answers = [F.softmax(each.detach() / temperature, dim=-1) for each in (student, logits(1))]
    assert torch.allclose(student.grad, temperature * (answers[0] - answers[1]) / len(student))


@every_temperature
def test_jsd_is_symmetric_and_at_most_log_two(temperature):
    forth, back = jensen_shannon(logits(0), logits(1), temperature), jensen_shannon(logits(1), logits(0), temperature)
    assert torch.allclose(forth, back)
    opposite = torch.tensor([[1e3, 0.0], [0.0, 1e3]], dtype=torch.float64) * temperature
    worst = jensen_shannon(opposite, opposite.flip(1), temperature)
    assert float(worst) == pytest.approx(temperature**2 * math.log(2))


@pytest.mark.parametrize(("loss", "factor"), [(kl_divergence, 1 / 2), (jensen_shannon, 1 / 8)])
def test_at_a_high_temperature_divergences_tend_to_the_logit_error_but_for_a_factor(loss, factor):
    limit = factor * float(logit_error(logits(0), logits(1), 1.0))
    # The next term of the expansion is smaller by logits / temperature, here 1e-3.
    assert float(loss(logits(0), logits(1), 1e4)) == pytest.approx(limit, rel=3e-3)
    assert float(loss(logits(0), logits(1), 1.0)) != pytest.approx(limit, rel=0.1)


def test_logits_of_float32_at_a_high_temperature_keep_their_digits():
    exact = float(kl_divergence(logits(0), logits(1), 20.0))
    assert float(kl_divergence(logits(0).float(), logits(1).float(), 20.0)) == pytest.approx(exact, rel=1e-3)


def tokens(seed: int, hidden_size: int = 8) -> torch.Tensor:
    return torch.randn(2, 6, hidden_size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_features_that_lie_alike_cost_nothing_whatever_their_rotation_scale_and_hidden_size():
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    wider = F.pad(3 * tokens(0) @ rotation, (0, 5))
    assert float(feature_error(wider, tokens(0))) == pytest.approx(0, abs=1e-12)


def test_features_that_lie_otherwise_cost_something_up_to_four():
    assert 0.01 < float(feature_error(tokens(0, hidden_size=5), tokens(1))) < 4
    line, opposite = (torch.tensor([[[1.0], [sign]]]) for sign in (1.0, -1.0))
    # Of the four cosines between two tokens, the two of a token with itself are always 1.
    assert float(feature_error(line, opposite)) == pytest.approx(2)


def test_features_learn_towards_the_teachers():
    student = tokens(0).requires_grad_()
    before = feature_error(student, tokens(1))
    before.backward()
    assert feature_error(student.detach() - 0.1 * student.grad, tokens(1)) < before


def rows(seed: int) -> torch.Tensor:
    return torch.rand(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_attention_costs_nothing_whatever_its_sum():
    assert float(attention_divergence(rows(0), 0.3 * rows(0))) == pytest.approx(0, abs=1e-12)
    assert float(attention_divergence(rows(0), rows(1))) > 0.01


def test_attention_is_compared_as_torch_compares_categoricals():
    student, teacher = (torch.distributions.Categorical(probs=rows(seed)) for seed in (0, 1))
    expected = torch.distributions.kl_divergence(teacher, student).mean()
    assert torch.allclose(attention_divergence(rows(0), rows(1)), expected)


def test_a_patch_that_gets_no_attention_leaves_the_loss_and_its_gradient_finite():
    student = rows(0)
    student[:, 0] = 0
    student.requires_grad_()
    loss = attention_divergence(student, rows(1))
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


def test_hidden_states_are_compared_layer_by_layer_as_shares_of_the_teachers_mean_square():
    teacher = [torch.full((2, 3, 4), value) for value in (1.0, 2.0, 100.0)]
    # The embeddings are left out; 10 % off in the first layer and 20 % in the second.
    student = [torch.zeros(2, 3, 4), teacher[1] * 1.1, teacher[2] * 0.8]
    assert float(hidden_state_error(student, teacher, (0, 1))) == pytest.approx((0.01 + 0.04) / 2, rel=1e-5)
    assert float(hidden_state_error(teacher, teacher, (0, 1))) == 0


def test_a_layer_is_compared_with_the_one_that_it_should_match():
    teacher = [torch.full((2, 3, 4), value) for value in (0.0, 1.0, 2.0, 4.0)]
    # The student's first layer is off by half of the teacher's second, its second not at all.
    assert float(hidden_state_error([teacher[0], teacher[1], teacher[3]], teacher, (1, 2))) == pytest.approx(0.25 / 2)
    assert float(hidden_state_error(teacher[::3], teacher, (2,))) == 0
