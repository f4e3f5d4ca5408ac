import pytest
import torch
from torch import nn

from smi_hf.errors import UsageError
from smi_hf.pruning.mlps import find_mlps


def test_the_two_layers_of_every_block_are_found_in_order(case, make_classifier):
    model = make_classifier(case)
    num_units = getattr(model.config, "intermediate_size", None) or 24 * model.config.mlp_ratio
    found = find_mlps(model)
    assert len(found) == 3
    assert len({id(mlp.block) for mlp in found}) == 3
    for number, mlp in enumerate(found):
        first, second = (model.model.get_submodule(name) for name in (mlp.first, mlp.second))
        assert (first.in_features, first.out_features, second.out_features) == (24, num_units, 24)
        assert f".{number}." in mlp.first
        assert f".{number}." in mlp.second
        assert not any(word in mlp.first + mlp.second for word in ("attention", "classifier"))


@pytest.mark.parametrize("case", ["vit", "narrow", "dinov2"])
def test_nothing_but_the_second_layer_hears_of_the_hidden_units(case, make_classifier):
    model = make_classifier(case)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for mlp in find_mlps(model):
        first, second = (model.model.get_submodule(name) for name in (mlp.first, mlp.second))
        with torch.no_grad():
            second.weight[:, 5] = 0
            before = model(pixels).logits
            first.weight[5], first.bias[5] = 3.0, 1.0
            assert torch.equal(model(pixels).logits, before)


def test_a_gated_mlp_is_refused_by_its_layers(make_classifier):
    with pytest.raises(
        UsageError, match=r"do not end in an MLP of two Linear layers, but in .*(weights_out|down_proj)"
    ):
        find_mlps(make_classifier("dinov2", use_swiglu_ffn=True))


def test_the_model_is_left_without_hooks(make_classifier):
    model = make_classifier("vit")
    find_mlps(model)
    assert not any(module._forward_hooks for module in model.modules() if isinstance(module, nn.Linear))
    assert not any(module._forward_pre_hooks for module in model.modules() if isinstance(module, nn.Linear))
