import copy

import pytest
import torch

from smi_hf.environment import missing_packages
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.models import SparseClassifier
from smi_hf.quantization.qat.weight_grids import least_squares_range, rounded

if missing_packages("quanto"):
    pytest.skip("the quanto extra is not installed", allow_module_level=True)

from smi_hf.quantization.backends.quanto import linear_layers
from smi_hf.quantization.qat.gptq import round_layers, round_with_feedback


def correlated_inputs(num_tokens: int = 512, num_inputs: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(8, num_inputs, generator=generator)
    few = torch.randn(num_tokens, 8, generator=generator) @ mixing
    return few + 0.3 * torch.randn(num_tokens, num_inputs, generator=generator)


def weights_of(num_outputs: int = 16, num_inputs: int = 48) -> torch.Tensor:
    return torch.randn(num_outputs, num_inputs, generator=torch.Generator().manual_seed(1))


def values(found, bits: int) -> torch.Tensor:
    weights = found.weights_OI
    return rounded(weights.reshape(len(found.scale_G1), -1), found.scale_G1, found.shift_G1, 2**bits - 1).reshape(
        weights.shape
    )


@pytest.mark.parametrize("group_size", [None, 16])
@pytest.mark.parametrize("bits", [2, 4])
def test_outputs_change_less_than_by_rounding_each_weight_to_the_nearest(bits, group_size):
    inputs, weights = correlated_inputs(), weights_of()
    found = round_with_feedback(weights, inputs.T @ inputs, bits, group_size, damping=0.01)
    groups = weights.reshape(-1, group_size or 48)
    nearest = rounded(groups, *least_squares_range(groups, bits), 2**bits - 1).reshape(weights.shape)
    errors = [float((inputs @ (each - weights).T).square().mean()) for each in (values(found, bits), nearest)]
    assert errors[0] < 0.7 * errors[1]


def test_inputs_that_are_not_correlated_leave_each_weight_at_its_nearest_value():
    weights = weights_of()
    found = round_with_feedback(weights, torch.eye(48), 2, 16)
    groups = weights.reshape(-1, 16)
    scale, shift = least_squares_range(groups, 2)
    # In double precision there, in single precision here.
    assert torch.allclose(values(found, 2), rounded(groups, scale, shift, 3).reshape(weights.shape), atol=1e-4)
    assert torch.allclose(found.weights_OI, weights, atol=1e-6)


def test_with_ample_damping_the_correlations_no_longer_count():
    inputs, weights = correlated_inputs(), weights_of()
    found = round_with_feedback(weights, inputs.T @ inputs, 2, None, damping=1e6)
    assert torch.allclose(found.weights_OI, weights, atol=1e-4)


def test_an_input_that_is_always_zero_is_no_obstacle():
    inputs = correlated_inputs()
    inputs[:, 5] = 0
    for gram in (inputs.T @ inputs, torch.zeros(48, 48)):
        found = round_with_feedback(weights_of(), gram, 2, 16)
        assert all(each.isfinite().all() for each in (found.weights_OI, found.scale_G1, found.shift_G1))


def test_a_model_answers_closer_than_by_rounding_to_the_nearest(teacher):
    images = gaussian_noise(teacher.model, 32)
    layers = dict.fromkeys(linear_layers(teacher.model))
    with torch.no_grad():
        expected = teacher.model(images.pixels_BCHW, images.kept_BK).logits
        feedback, nearest = (SparseClassifier(copy.deepcopy(teacher.model.model)) for _ in range(2))
        found = round_layers(feedback, layers, 2, images, disable_tqdm=True)
        for name in layers:
            weight = nearest.model.get_submodule(name).weight
            weight.copy_(rounded(weight, *least_squares_range(weight, 2), 3))
        errors = [
            float((each(images.pixels_BCHW, images.kept_BK).logits - expected).square().mean())
            for each in (feedback, nearest)
        ]
    assert list(found) == list(layers)
    # The inputs of a random model are hardly correlated.
    assert errors[0] < 0.97 * errors[1]
    # The model holds the rounded weights.
    for name in layers:
        assert torch.equal(feedback.model.get_submodule(name).weight, values(found[name], 2))
