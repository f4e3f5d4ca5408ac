import pytest

from smi_hf.errors import UsageError
from smi_hf.pruning.config import PruningConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_mlp": 0.0}, "keep_mlp must be above 0 and at most 1, but 0.0 was given"),
        ({"keep_mlp": float("nan")}, "keep_mlp must be above 0"),
        ({"keep_mlp": 1.0}, "keep_mlp is 1 and all layers stay, so nothing would be pruned"),
        ({"max_parameters": 0.0}, "max_parameters must be above 0, and finite, but 0.0 was given"),
        ({"max_gmacs": float("nan")}, "max_gmacs must be above 0, and finite, but nan was given"),
        ({"max_ms": float("inf")}, "max_ms must be above 0, and finite, but inf was given"),
        (
            {"keep_mlp": 0.5, "max_gmacs": 1.0},
            "keep_mlp says how many hidden units stay, but max_gmacs chooses it; leave out one",
        ),
        ({"ridge": -1.0}, "ridge must be 0 or more, and finite, but -1.0 was given"),
        ({"num_layers": 0}, "num_layers must be at least 1, but 0 was given"),
        ({"num_layers": 2, "layers": [0, 1]}, "num_layers chooses the layers that stay, but layers names them, too"),
        ({"num_epochs": -1}, "num_epochs must be from 0 to 2\\*\\*31 - 1, but -1 was given"),
        ({"num_scenes": -1}, "num_scenes must be from 0"),
        ({"seed": 2**31}, "seed must be from 0"),
        ({"num_images": 0}, "num_images must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"output_dir": ""}, "output_dir must name a folder"),
        ({"control_seeds": []}, "control_seeds is empty"),
        ({"control_seeds": [-1]}, "control_seeds must be from 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        PruningConfig(**settings)


def test_all_units_may_stay_where_layers_go():
    assert PruningConfig(keep_mlp=1.0, num_layers=2).model_settings()["keep_mlp"] == 1.0


def test_a_budget_has_what_was_given_alone():
    assert PruningConfig(max_ms=3.0, max_parameters=2.0).budget() == {"max_parameters": 2.0, "max_ms": 3.0}
    assert PruningConfig().budget() == {}
