import numpy as np
import pytest
import torch

from smi_hf.pruning.compensation import Moments, choose_inputs, correction, refit

NUM_TOKENS, NUM_INPUTS, NUM_OUTPUTS = 300, 12, 5


@pytest.fixture
def inputs() -> torch.Tensor:
    """Correlated, of different sizes, and with means that are not 0, as hidden units behind a GELU are."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(NUM_TOKENS, 6, generator=generator) @ torch.randn(6, NUM_INPUTS, generator=generator)
    own = torch.randn(NUM_TOKENS, NUM_INPUTS, generator=generator)
    return (mixed + own) * torch.linspace(0.2, 3, NUM_INPUTS) + torch.linspace(-1, 2, NUM_INPUTS)


@pytest.fixture
def weights() -> torch.Tensor:
    return torch.randn(NUM_OUTPUTS, NUM_INPUTS, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def bias() -> torch.Tensor:
    return torch.linspace(-2, 2, NUM_OUTPUTS)


def moments_of(inputs: torch.Tensor, outputs: torch.Tensor | None = None, batch_size: int = NUM_TOKENS) -> Moments:
    """Of inputs and outputs; zeros where outputs do not matter."""
    outputs = torch.zeros(len(inputs), NUM_OUTPUTS) if outputs is None else outputs
    moments = Moments.empty(inputs.shape[1], outputs.shape[1])
    for batch in zip(inputs.split(batch_size), outputs.split(batch_size)):
        moments.add(*batch)
    return moments


def least_squares(inputs, outputs, ridge) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias by an augmented system: a row for each token, and one for each weight that is to be small."""
    num_tokens, num_inputs = inputs.shape
    strength = np.sqrt(num_tokens * ridge * inputs.var(axis=0).mean())
    tokens = np.hstack([inputs, np.ones((num_tokens, 1))])
    penalty = np.hstack([strength * np.eye(num_inputs), np.zeros((num_inputs, 1))])
    wanted = np.vstack([outputs, np.zeros((num_inputs, outputs.shape[1]))])
    found = np.linalg.lstsq(np.vstack([tokens, penalty]), wanted, rcond=None)[0]
    return found[:-1].T, found[-1]


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.1, 10.0])
def test_the_ridge_regression_is_that_of_a_slow_reference(inputs, weights, bias, ridge):
    kept = torch.tensor([0, 3, 4, 9, 11])
    new_weights, new_bias = refit(moments_of(inputs), kept, weights, bias, ridge=ridge)
    tokens = inputs.double().numpy()
    outputs = tokens @ weights.double().numpy().T + bias.double().numpy()
    expected_weights, expected_bias = least_squares(tokens[:, kept.numpy()], outputs, ridge)
    # Both in float64; moments square the condition number of what a least-squares solver is given.
    assert np.allclose(new_weights.numpy(), expected_weights, rtol=1e-8, atol=1e-8)
    assert np.allclose(new_bias.numpy(), expected_bias, rtol=1e-8, atol=1e-8)


def test_inputs_that_others_tell_exactly_can_go_for_nothing(inputs, weights, bias):
    # Half are sums of the other half, and one of them is constant.
    basis = inputs[:, :6].double()
    redundant = torch.cat([basis, basis.cumsum(dim=1)[:, 1:] + 3, torch.full((NUM_TOKENS, 1), 7.0)], dim=1)
    new_weights, new_bias = refit(moments_of(redundant), torch.arange(6), weights, bias, ridge=0.0)
    before = redundant @ weights.double().T + bias
    assert torch.allclose(basis @ new_weights.T + new_bias, before, atol=1e-8)


def test_with_all_inputs_and_no_ridge_the_layer_stays_what_it_is(inputs, weights, bias):
    new_weights, new_bias = refit(moments_of(inputs), torch.arange(NUM_INPUTS), weights, bias, ridge=0.0)
    assert torch.allclose(new_weights, weights.double(), atol=1e-9)
    assert torch.allclose(new_bias, bias.double(), atol=1e-9)


def test_under_a_large_ridge_the_mean_output_is_left(inputs, weights, bias):
    new_weights, new_bias = refit(moments_of(inputs), torch.arange(4), weights, bias, ridge=1e9)
    assert new_weights.abs().max() < 1e-6
    assert torch.allclose(new_bias, (inputs.double() @ weights.double().T + bias).mean(dim=0), atol=1e-5)


def test_moments_do_not_depend_on_the_batches(inputs):
    outputs = inputs[:, :2]
    whole, parts = moments_of(inputs, outputs), moments_of(inputs, outputs, batch_size=7)
    sums = moments_of(inputs[:90], outputs[:90]) + moments_of(inputs[90:], outputs[90:])
    expected = torch.from_numpy(np.cov(inputs.double().numpy().T, bias=True))
    for moments in (whole, parts, sums):
        assert moments.count == NUM_TOKENS
        assert torch.allclose(moments.covariance_II, expected, atol=1e-10)
        assert torch.allclose(moments.covariance_IO, expected[:, :2], atol=1e-10)
        assert torch.allclose(moments.variance_O, expected.diagonal()[:2], atol=1e-10)


def error_without(inputs, weights, kept, ridge) -> float:
    """Of the output, when the kept inputs' weights are the best: tokens, and a row that keeps each weight as it is."""
    centered = inputs.double().numpy() - inputs.double().numpy().mean(axis=0)
    strength = np.sqrt(len(centered) * ridge * centered.var(axis=0).mean())
    rows = np.vstack([centered, strength * np.eye(centered.shape[1])])
    wanted = rows @ weights.double().numpy().T
    found = np.linalg.lstsq(rows[:, kept], wanted, rcond=None)[0]
    return float(((rows[:, kept] @ found - wanted) ** 2).sum())


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_those_go_that_the_rest_can_best_make_up_for(inputs, weights, ridge):
    left = list(range(NUM_INPUTS))
    while len(left) > 1:
        left.remove(min(left, key=lambda gone: error_without(inputs, weights, [i for i in left if i != gone], ridge)))
        assert choose_inputs(moments_of(inputs), weights, len(left), ridge=ridge).tolist() == left


def test_of_many_inputs_several_go_at_a_time_and_as_many_stay_as_are_asked_for(weights):
    many = torch.randn(1000, 450, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(NUM_OUTPUTS, 450, generator=torch.Generator().manual_seed(3))
    # Inputs without weights say nothing, however many go together.
    weights[:, ::2] = 0
    assert choose_inputs(moments_of(many), weights, 225).tolist() == list(range(1, 450, 2))
    kept = choose_inputs(moments_of(many), weights, 101)
    assert len(kept) == 101 and kept.tolist() == sorted(set(kept.tolist()))


def test_a_copy_of_an_input_goes_first_and_one_that_never_changes(inputs, weights):
    doubled = torch.cat([inputs, inputs[:, 3:4], torch.full((NUM_TOKENS, 1), 50.0)], dim=1)
    weights = torch.cat([weights, 2 * weights[:, 3:4], 9 * weights[:, :1]], dim=1)
    for ridge in (0.0, 1e-6):
        kept = choose_inputs(moments_of(doubled), weights, NUM_INPUTS, ridge=ridge).tolist()
        assert set(range(NUM_INPUTS)) - {3} <= set(kept) and len({3, NUM_INPUTS} & set(kept)) == 1


def test_all_inputs_are_kept_where_as_many_are_asked_for(inputs, weights):
    assert choose_inputs(moments_of(inputs), weights, NUM_INPUTS).tolist() == list(range(NUM_INPUTS))


def test_inputs_that_never_change_are_no_obstacle(weights, bias):
    still = torch.ones(NUM_TOKENS, NUM_INPUTS)
    new_weights, new_bias = refit(moments_of(still), torch.arange(3), weights, bias, ridge=1e-2)
    assert torch.allclose(still[:, :3].double() @ new_weights.T + new_bias, still.double() @ weights.double().T + bias)


def halves_of(inputs: torch.Tensor, outputs: torch.Tensor) -> list[Moments]:
    return [moments_of(inputs[half::2], outputs[half::2]) for half in range(2)]


def corrected_slowly(halves: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """By a least-squares solver for each strength, on one half, judged token by token on the other."""

    def error(ridge: float) -> float:
        total = 0.0
        for (inputs, outputs), (others, wanted) in (halves, halves[::-1]):
            rest = wanted - others @ least_squares(inputs, outputs, ridge)[0].T
            total += np.square(rest - rest.mean(axis=0)).mean(axis=0).sum()
        return total

    ridges = (1e-3, 1e-2, 0.1, 1.0, 10.0)
    whole = [np.concatenate(column) for column in zip(*halves)]
    if min(map(error, ridges)) >= sum(outputs.var(axis=0).sum() for _, outputs in halves):
        return np.zeros((whole[1].shape[1], whole[0].shape[1])), whole[1].mean(axis=0)
    return least_squares(*whole, min(ridges, key=error))


@pytest.mark.parametrize("noise", [0.1, 3.0, 30.0, 300.0])
def test_a_correction_is_as_strong_as_serves_the_other_half(noise, inputs, weights, bias):
    generator = torch.Generator().manual_seed(4)
    outputs = inputs @ weights.T + bias + noise * torch.randn(NUM_TOKENS, NUM_OUTPUTS, generator=generator)
    found = correction(halves_of(inputs, outputs))
    halves = [(inputs[half::2].double().numpy(), outputs[half::2].double().numpy()) for half in range(2)]
    expected = corrected_slowly(halves)
    assert np.allclose(found[0].numpy(), expected[0], rtol=1e-6, atol=1e-8)
    assert np.allclose(found[1].numpy(), expected[1], rtol=1e-6, atol=1e-8)


def test_what_is_noise_alone_is_not_learned(inputs):
    outputs = torch.randn(NUM_TOKENS, NUM_OUTPUTS, generator=torch.Generator().manual_seed(6))
    weights, bias = correction(halves_of(inputs, outputs))
    assert weights.abs().max() < 0.02
    assert torch.allclose(bias, outputs.double().mean(dim=0) - weights @ inputs.double().mean(dim=0))


def test_of_one_image_no_half_can_be_judged_by_the_other_and_only_the_mean_is_corrected(inputs, weights, bias):
    halves = [moments_of(inputs, inputs @ weights.T + bias), Moments.empty(NUM_INPUTS, NUM_OUTPUTS)]
    added, shift = correction(halves)
    assert not added.any()
    assert torch.allclose(shift, (inputs @ weights.T + bias).double().mean(dim=0), atol=1e-5)
