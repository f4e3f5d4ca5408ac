import pytest

from smi_hf.errors import UsageError
from smi_hf.pruning.config import PruningConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_mlp": 0.0}, "keep_mlp must be above 0 and at most 1, but 0.0 was given"),
        ({"keep_mlp": float("nan")}, "keep_mlp must be above 0"),
        ({"keep_mlp": 1.0}, "keep_mlp is 1 and all layers stay, so nothing would be pruned"),
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
