import copy
import logging
import re
import time

import pytest
import torch

from smi_hf.errors import UsageError
from smi_hf.evaluation.cost import size_figures
from smi_hf.models import SparseClassifier
from smi_hf.models.depth import with_layers
from smi_hf.pruning.budget import choose_width, within_budget
from smi_hf.pruning.config import PruningConfig
from smi_hf.pruning.mlps import find_mlps

COUNTED = {"max_parameters": "parameters", "max_gmacs": "macs"}
# Milliseconds of an MLP with few hidden units, and with many.
FAST_MS, SLOW_MS = 3, 36


def stock_width(case: str, width: int) -> dict[str, int]:
    """What a configuration of a case says for so many hidden units."""
    return {"mlp_ratio": width // 24} if case in ("dinov2", "registers") else {"intermediate_size": width}


def possible_widths(case: str) -> list[int]:
    return {"dinov2": [24, 48], "registers": [24, 48], "narrow": [8, 16, 24]}.get(case, [8, 16, 24, 32, 40])


def slowed(model: SparseClassifier, most_fast_units: int) -> SparseClassifier:
    """The same model, whose MLPs take their time: more of it with more hidden units than these."""

    def wait(layer, inputs, output):
        time.sleep((FAST_MS if layer.in_features <= most_fast_units else SLOW_MS) / 1000)

    for mlp in find_mlps(model):
        model.model.get_submodule(mlp.second).register_forward_hook(wait)
    return model


@pytest.mark.parametrize("option", COUNTED)
def test_the_widest_stock_checkpoint_that_fits_is_chosen(option, case, make_classifier):
    model, below = make_classifier(case), None
    for width in possible_widths(case):
        stock = size_figures(make_classifier(case, **stock_width(case, width)))
        chosen, costs = choose_width(model, {option: stock[COUNTED[option]]})
        assert (chosen, costs) == (width, {name: stock[key] for name, key in COUNTED.items()})
        if below is not None:
            # One parameter or MAC too few.
            assert choose_width(model, {option: stock[COUNTED[option]] - 1e-9})[0] == below
        below = width


def test_a_width_that_is_no_multiple_of_8_is_possible_only_as_it_is(make_classifier):
    model = make_classifier("vit", intermediate_size=43)
    whole = size_figures(model)["parameters"]
    assert [choose_width(model, {"max_parameters": whole - less})[0] for less in (0, 1e-6)] == [43, 40]
    assert choose_width(make_classifier("vit", intermediate_size=5), {"max_parameters": 1.0})[0] == 5


def test_of_several_budgets_all_hold(make_classifier):
    model = make_classifier("vit")
    sizes = {width: size_figures(make_classifier("vit", intermediate_size=width)) for width in (16, 32)}
    for parameters, macs in ((16, 32), (32, 16), (16, 16)):
        budget = {"max_parameters": sizes[parameters]["parameters"], "max_gmacs": sizes[macs]["macs"]}
        assert choose_width(model, budget)[0] == 16


@pytest.mark.parametrize("layers", [{"num_layers": 2}, {"layers": [0, 1]}, {"layers": [1, 2]}])
def test_layers_go_first_and_the_width_is_that_for_what_is_left(layers, make_classifier):
    model = make_classifier("vit")
    fit = size_figures(make_classifier("vit", num_hidden_layers=2, intermediate_size=24))["macs"]
    found = within_budget(model, PruningConfig(max_gmacs=fit, **layers))
    assert found == PruningConfig(keep_mlp=24 / 40, **layers)
    # All layers would be too many, however few units they had.
    with pytest.raises(UsageError, match="but the smallest model with 3 layers"):
        within_budget(model, PruningConfig(max_gmacs=fit))


def test_where_layers_go_the_rest_may_stay_whole(make_classifier):
    assert within_budget(make_classifier("vit"), PruningConfig(max_parameters=1.0, num_layers=2)).keep_mlp == 1.0


@pytest.mark.parametrize("layers", [{}, {"num_layers": 3}, {"layers": [0, 1, 2]}])
@pytest.mark.parametrize("option", [*COUNTED, "max_ms"])
def test_a_budget_that_the_whole_model_meets_is_refused(option, layers, make_classifier):
    message = f"{option} is 100000, which the whole model meets with .*, so nothing would be pruned; give less"
    with pytest.raises(UsageError, match=message):
        within_budget(make_classifier("vit"), PruningConfig(**{option: 1e5}, **layers))


@pytest.mark.parametrize("option", COUNTED)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_the_smallest_budget_that_is_named_can_be_met_and_nothing_below(option, num_layers, case, make_classifier):
    model = make_classifier(case)
    with pytest.raises(UsageError, match=f"{option} is 1e-06, but the smallest model with") as refusal:
        within_budget(model, PruningConfig(**{option: 1e-6}, num_layers=num_layers))
    said = re.search(r"costs ([\d.e-]+) (million parameters|GMACs); give at least that", str(refusal.value))[1]
    assert ("fewer layers (--num_layers)" in str(refusal.value)) == (num_layers > 1)
    left = with_layers(model, range(num_layers))
    assert choose_width(left, {option: float(said)})[0] == possible_widths(case)[0]
    # Rounded up in its fourth digit.
    with pytest.raises(UsageError, match="the smallest model"):
        choose_width(left, {option: float(said) * 0.998})


def test_all_budgets_that_cannot_be_met_are_named_and_no_others(make_classifier):
    with pytest.raises(
        UsageError, match=r"^max_parameters is 0.001 and max_ms is 0.001, but .* parameters, .* ms for"
    ):
        choose_width(make_classifier("vit"), {"max_parameters": 1e-3, "max_gmacs": 1.0, "max_ms": 1e-3})


def test_a_width_that_is_slower_than_the_line_said_makes_room_for_a_smaller_one(make_classifier):
    model = slowed(make_classifier("vit", intermediate_size=64, num_hidden_layers=1), 16)
    # The line from 8 units to 40 says more than 16.
    width, costs = choose_width(model, {"max_ms": SLOW_MS - 2})
    assert width == 16
    assert FAST_MS <= costs["max_ms"] <= SLOW_MS - 2


def test_milliseconds_and_counts_hold_together(make_classifier):
    model = slowed(make_classifier("vit", intermediate_size=64, num_hidden_layers=1), 40)
    fit = size_figures(make_classifier("vit", intermediate_size=16, num_hidden_layers=1))["parameters"]
    assert choose_width(model, {"max_ms": SLOW_MS - 2, "max_parameters": fit})[0] == 16
    with pytest.raises(UsageError, match=r"max_ms is 1, but the smallest model with one layer costs .* ms for one"):
        choose_width(model, {"max_ms": 1.0, "max_parameters": fit})


def test_without_a_budget_the_share_is_as_given_or_half(make_classifier):
    model = make_classifier("vit")
    assert within_budget(model, PruningConfig(keep_mlp=0.3)) == PruningConfig(keep_mlp=0.3)
    assert within_budget(model, PruningConfig()) == PruningConfig(keep_mlp=0.5)


def test_what_was_chosen_is_logged(make_classifier, caplog):
    fit = size_figures(make_classifier("vit", intermediate_size=24))["parameters"]
    with caplog.at_level(logging.INFO, "smi_hf"):
        within_budget(make_classifier("vit"), PruningConfig(max_parameters=fit))
    said = caplog.text
    assert "24 of 40 hidden units of each MLP stay (60.0 %), which with 3 layers comes to" in said
    assert f"max_parameters is {fit:g}" in said and "GMACs" in said


def test_the_model_is_left_as_it_is(case, make_classifier):
    model = make_classifier(case)
    weights, config = copy.deepcopy(model.model.state_dict()), copy.deepcopy(model.config)
    choose_width(model, {"max_parameters": 1.0, "max_ms": 1e9})
    after = model.model.state_dict()
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert model.config.to_dict() == config.to_dict()
    assert all(weight.requires_grad for weight in model.model.parameters())
