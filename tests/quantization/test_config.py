"""Settings of a quantization: what cannot be is refused at once, and what is not given is the back end's own."""

import pytest

from smi_hf import QuantizationConfig, UsageError
from smi_hf.quantization.backends import BACKENDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_dir": ""}, "output_dir must name a folder, but '' was given"),
        ({"output_dir": "a\0b"}, "output_dir must name a folder"),
        ({"backend": "onx"}, r"there is no back end 'onx' \(did you mean 'onnx'\?\)"),
        ({"backend": "base"}, "there is no back end 'base'"),
        ({"num_images": 0}, "num_images must be at least 1, but 0 was given"),
        ({"sensitivity_images": 0}, "sensitivity_images must be at least 1"),
        ({"batch_size": -3}, "batch_size must be at least 1, but -3 was given"),
        ({"calibration_patches": "some"}, "calibration_patches is 'some', but can be kept or tiled or all"),
        ({"control_seeds": []}, "control_seeds is empty"),
        ({"control_seeds": [0, -1]}, r"control_seeds must be from 0 to 2\*\*63 - 1, but -1 was given"),
        ({"control_seeds": [2**63]}, "control_seeds must be from 0"),
        ({"compare": ["onx"]}, r"there is no back end 'onx' \(did you mean 'onnx'\?\)"),
        ({"compare": ["quanto", "all"]}, "there is no back end 'all'"),
        ({"compare": ["quanto", "quanto"]}, "compare names a back end twice"),
        ({"compare": ["all"], "backend": "quanto"}, "compare chooses the back end, but backend 'quanto' was given"),
        ({"compare": ["all"], "exclude": ["head"]}, "its own defaults, but exclude was given, which is for one"),
        ({"mixed": "Auto"}, "mixed is 'Auto', but can be auto; or leave it out"),
        ({"max_loss": 1.0}, "max_loss is a limit for mixed, which was not given; give both"),
        ({"max_size_mb": 3.0}, "max_size_mb is a limit for mixed, which was not given"),
        ({"mixed": "auto", "max_loss": -0.1}, "max_loss must be from 0 to 100, but -0.1 was given"),
        ({"mixed": "auto", "max_loss": float("nan")}, "max_loss must be from 0 to 100, but nan was given"),
        ({"mixed": "auto", "max_size_mb": 0.0}, r"max_size_mb must be from 1e-06 to 1e\+09, but 0.0 was given"),
        ({"mixed": "auto", "wide_layers": ["a"]}, "mixed chooses wide_layers by itself, but wide_layers was given"),
    ],
)
def test_a_wrong_setting_is_refused_when_the_config_is_made(changes, message):
    with pytest.raises(UsageError, match=message) as refusal:
        QuantizationConfig(**changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("backend", BACKENDS.names())
def test_settings_that_are_not_given_are_those_of_the_back_end(backend):
    own = BACKENDS.get(backend)
    settings = QuantizationConfig(backend=backend).model_settings()
    assert settings["operators"] == list(own.operators) and settings["operators"]
    assert settings["target"] == next(iter(own.targets), None)
    # Written out, they are the same settings.
    written = QuantizationConfig(backend=backend, operators=list(own.operators), target=settings["target"])
    assert written.model_settings() == settings


def test_options_that_do_not_change_the_model_are_not_among_its_settings():
    first = QuantizationConfig(backend="simulated", output_dir="a", batch_size=3, sensitivity=True, disable_tqdm=True)
    second = QuantizationConfig(backend="simulated", output_dir="b", control_seeds=[1, 2])
    assert first.model_settings() == second.model_settings()
    other = QuantizationConfig(backend="simulated", exclude=["classifier"])
    assert other.model_settings() != first.model_settings()


def test_layers_that_are_named_leave_nothing_to_search_for():
    config = QuantizationConfig(mixed="auto", max_loss=2, weights=8, exclude=["a"], output_dir="x")
    named = config.with_layers(exclude=["a", "b"], wide_layers=("c",))
    assert named == QuantizationConfig(exclude=["a", "b"], wide_layers=["c"], output_dir="x")
