"""Quantization-aware training is what `distill` asks of a quantizer."""

import inspect

import pytest

from smi_hf import QuantizationConfig, UsageError
from smi_hf.distillation.quantization import StudentQuantization
from smi_hf.environment import missing_packages
from smi_hf.quantization.qat import QuantizationAwareTraining

needs_quanto = pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")

CALLS = [name for name, value in vars(StudentQuantization).items() if inspect.isfunction(value) and name[0] != "_"]


@pytest.mark.parametrize("name", CALLS)
def test_it_can_be_called_as_distill_calls_it(name):
    asked, given = (
        inspect.signature(getattr(each, name)) for each in (StudentQuantization, QuantizationAwareTraining)
    )
    assert [(each.name, each.kind) for each in given.parameters.values()] == [
        (each.name, each.kind) for each in asked.parameters.values()
    ]


@needs_quanto
def test_it_has_what_records_and_cards_say():
    training = QuantizationAwareTraining(2)
    for name in StudentQuantization.__annotations__:
        assert getattr(training, name), name
    config = QuantizationConfig(backend="quanto", weights=2, activations=32, exclude=["classifier"])
    assert QuantizationAwareTraining(2, 32, ("classifier",)).settings == config.model_settings()


@needs_quanto
@pytest.mark.parametrize(("weights", "activations"), [(3, 8), (2, 4), (32, 8)])
def test_widths_that_quanto_lacks_are_refused_before_a_model_is_loaded(weights, activations):
    QuantizationAwareTraining(4, 8).check()
    with pytest.raises(UsageError, match=f"has no weights of {weights} bits with activations of {activations}"):
        QuantizationAwareTraining(weights, activations).check()
