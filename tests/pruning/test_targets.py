"""What an MLP should give, so that its block gives what the whole model's does."""

import torch

from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.models.blocks import find_blocks, first_block_inputs
from smi_hf.pruning.fitting import activation_of
from smi_hf.pruning.mlps import find_mlps
from smi_hf.pruning.targets import mlp_tokens, output_scale


def test_of_the_whole_model_an_mlp_should_give_what_it_gives(case, make_classifier):
    model = make_classifier(case)
    images = gaussian_noise(model, 4)
    with torch.no_grad():
        (batch,) = first_block_inputs(model, images.batches(4))
        for mlp, block in zip(find_mlps(model), find_blocks(model)):
            # As LayerScale does: each channel has a constant of its own.
            second = model.model.get_submodule(mlp.second)
            scale_D = output_scale(model, mlp, batch)
            found = mlp_tokens(model, mlp, batch, batch.through(block), scale_D)
            torch.testing.assert_close(found.wanted_BTD, second(found.hidden_BTI), atol=1e-4, rtol=1e-3)
            activation = activation_of(model, mlp, found.inputs_BTD, found.hidden_BTI)
            first = model.model.get_submodule(mlp.first)
            torch.testing.assert_close(activation(first(found.inputs_BTD)), found.hidden_BTI)
            batch.advance(block)


def test_the_constants_of_layer_scale_are_found(make_classifier):
    model = make_classifier("dinov2")
    (batch,) = first_block_inputs(model, gaussian_noise(model, 2).batches(2))
    block, mlp = find_blocks(model)[0], find_mlps(model)[0]
    wanted = torch.logspace(-4, 0, 24)
    with torch.no_grad():
        block.layer_scale2.lambda1.copy_(wanted)
        torch.testing.assert_close(output_scale(model, mlp, batch), wanted, rtol=1e-2, atol=1e-6)
