"""A small MLP fitted by gradient to a whole one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smi_hf.errors import UsageError
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.models.blocks import first_block_inputs
from smi_hf.pruning.fitting import activation_of, fit_mlp
from smi_hf.pruning.mlps import find_mlps
from smi_hf.pruning.targets import mlp_tokens, output_scale


def mlp(num_units: int, seed: int) -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(seed)
    return nn.Linear(6, num_units).requires_grad_(False), nn.Linear(num_units, 6).requires_grad_(False)


def give(layers, tokens):
    return layers[1](F.gelu(layers[0](tokens)))


@pytest.fixture
def tokens():
    return torch.randn(2000, 6, generator=torch.Generator().manual_seed(1))


def test_what_another_mlp_gives_is_learned(tokens):
    small, whole = mlp(8, seed=0), mlp(8, seed=5)
    before = (give(small, tokens) - give(whole, tokens)).square().mean()
    told = fit_mlp(small, whole, F.gelu, tokens, torch.ones(6), num_epochs=300)
    assert (give(small, tokens) - give(whole, tokens)).square().mean() < 0.2 * before
    assert told[1] < 0.2 * told[0]
    assert not any(weight.requires_grad for layer in small for weight in layer.parameters())


def test_what_does_not_help_on_held_out_tokens_is_undone(tokens):
    # The last hundred tokens are held out: both give the same there, and something else on all others.
    small, whole = mlp(8, seed=0), mlp(8, seed=0)
    whole[0].bias.sub_(100.0)
    small[0].bias.sub_(100.0)
    whole[0].weight[0], small[0].weight[0] = torch.tensor([200.0, 0, 0, 0, 0, 0]), torch.zeros(6)
    tokens[:, 0] = tokens[:, 0].abs() + 0.5
    tokens[1900:, 0] = 0.0
    before = copy.deepcopy([layer.state_dict() for layer in small])
    told = fit_mlp(small, whole, F.gelu, tokens, torch.ones(6), num_epochs=2)
    assert told[0] == told[1]
    after = [layer.state_dict() for layer in small]
    assert all(torch.equal(one[name], two[name]) for one, two in zip(before, after) for name in one)


def test_outputs_that_count_for_nothing_are_left_out(tokens):
    small, whole = mlp(8, seed=0), mlp(8, seed=0)
    whole[1].bias[0] += 5
    told = fit_mlp(small, whole, F.gelu, tokens, torch.tensor([0.0, 1, 1, 1, 1, 1]), num_epochs=1)
    assert told[0] == pytest.approx(0, abs=1e-10)


def test_another_activation_than_the_configuration_names_is_refused(make_classifier):
    model = make_classifier("vit")
    (batch,) = first_block_inputs(model, gaussian_noise(model, 2).batches(2))
    mlp = find_mlps(model)[0]
    with torch.no_grad():
        found = mlp_tokens(model, mlp, batch, batch.through(mlp.block), output_scale(model, mlp, batch))
        model.config.hidden_act = "relu"
        with pytest.raises(UsageError, match="more between their layers than the activation 'relu'"):
            activation_of(model, mlp, found.inputs_BTD, found.hidden_BTI)
