"""What is quantized: widths, operators, exclusions, and the answers to names that do not exist."""

import pytest

from smi_hf import UsageError
from smi_hf.quantization.backends.base import BACKENDS, check_settings, choose_layers, choose_wide
from smi_hf.quantization.config import QuantizationConfig

LAYERS = {"block.0.query": "Linear", "block.0.scores": "MatMul", "block.1.query": "Linear", "head": "Linear"}


class Backend:
    extra = None
    widths = ((8, 8), (4, 32))
    operators = ("Linear",)
    targets = ("here", "there")
    has_quantized_outputs = False
    has_wide_layers = False
    is_simulation = False


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setitem(BACKENDS._entries, "pretend", Backend())
    return Backend()


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({}, ["block.0.query", "block.1.query", "head"]),
        ({"operators": ("all",)}, list(LAYERS)),
        ({"operators": ("MatMul",)}, ["block.0.scores"]),
        ({"exclude": ("block.1.*",)}, ["block.0.query", "head"]),
        ({"operators": ("MatMul", "Linear"), "exclude": ("*query", "head")}, ["block.0.scores"]),
    ],
)
def test_layers_are_chosen_by_operator_and_exclusion_in_their_order(backend, settings, chosen):
    assert choose_layers(LAYERS, backend, QuantizationConfig(**settings)) == chosen


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operators": ("Matmul",)}, r"no operator 'Matmul' \(did you mean 'MatMul'\?\); it has Linear, MatMul"),
        ({"exclude": ("heat",)}, r"no layer 'heat' \(did you mean 'head'\?\) to exclude; it has block.0.query"),
        ({"exclude": ("*",)}, "nothing is left to quantize"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_the_nearest(backend, settings, message):
    with pytest.raises(UsageError, match=message):
        choose_layers(LAYERS, backend, QuantizationConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": 3}, r"no weights of 3 bits with activations of 8; it has \(weights/activations\) 8/8, 4/32"),
        ({"weights": 4}, "no weights of 4 bits with activations of 8"),
        ({"quantize_outputs": True, "weights": 4, "activations": 32}, "'pretend' has no choice about outputs"),
        ({"target": "their"}, r"there is no target 'their' \(did you mean 'there'\?\); .* has here, there"),
    ],
)
def test_a_width_or_target_that_the_back_end_lacks_is_refused_by_name(backend, settings, message):
    check_settings("pretend", QuantizationConfig(weights=4, activations=32, target="there"))
    with pytest.raises(UsageError, match=message):
        check_settings("pretend", QuantizationConfig(**settings))


def test_a_simulation_has_weights_of_2_to_8_bits_and_activations_of_2_to_16(backend, monkeypatch):
    monkeypatch.setattr(Backend, "widths", None)
    for bits in (2, 5, 8, 32):
        check_settings("pretend", QuantizationConfig(weights=bits, activations=bits))
    check_settings("pretend", QuantizationConfig(weights=8, activations=16))
    for weights, activations in ((8, 17), (9, 8), (16, 16)):
        with pytest.raises(UsageError, match=f"weights {weights} and activations {activations} are not widths of"):
            check_settings("pretend", QuantizationConfig(weights=weights, activations=activations))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activations": 8}, "'pretend' has no layers of 16 bits among others; leave out wide_layers"),
        ({"activations": 16}, "layers whose activations get 16 bits, but all have 16; leave out one"),
    ],
)
def test_wide_layers_are_refused_where_they_say_nothing(backend, monkeypatch, settings, message):
    monkeypatch.setattr(Backend, "widths", ((8, 8), (8, 16)))
    monkeypatch.setattr(Backend, "has_wide_layers", settings["activations"] == 16)
    with pytest.raises(UsageError, match=message):
        check_settings("pretend", QuantizationConfig(wide_layers=["head"], **settings))


def test_wide_layers_are_those_of_the_quantized_ones_that_a_pattern_names():
    settings = QuantizationConfig(wide_layers=["*query"])
    assert choose_wide(LAYERS, ["block.1.query", "head"], settings) == ["block.1.query"]
    with pytest.raises(UsageError, match=r"no layer 'heat' \(did you mean 'head'\?\) to widen; it has block.0.query"):
        choose_wide(LAYERS, list(LAYERS), QuantizationConfig(wide_layers=["heat"]))


def test_a_simulation_has_no_size_to_keep_below(backend, monkeypatch):
    monkeypatch.setattr(Backend, "widths", ((8, 8),))
    check_settings("pretend", QuantizationConfig(mixed="auto", max_size_mb=3))
    monkeypatch.setattr(Backend, "is_simulation", True)
    with pytest.raises(UsageError, match="makes no smaller models, so max_size_mb means nothing"):
        check_settings("pretend", QuantizationConfig(mixed="auto", max_size_mb=3))


def test_a_target_is_refused_where_there_are_none(backend, monkeypatch):
    monkeypatch.setattr(Backend, "targets", ())
    with pytest.raises(UsageError, match="has no targets, but target 'arm64' was given"):
        check_settings("pretend", QuantizationConfig(target="arm64"))


@pytest.mark.parametrize(
    ("lane", "message"),
    [
        ("latest", r'\'pretend\' needs onnxscript, onnx, onnxruntime .*: pip install "smi-hf\[onnx\] @ git'),
        ("full", r'\'pretend\' needs optimum-onnx, onnx, onnxruntime .*: pip install "smi-hf\[onnx-full\] @ git'),
    ],
)
def test_a_missing_extra_names_the_command_or_the_lane(backend, monkeypatch, lane, message):
    from smi_hf import environment

    monkeypatch.setattr(Backend, "extra", "onnx")
    monkeypatch.setattr(environment, "package_version", lambda name: None)
    monkeypatch.setattr(environment, "dependency_lane", lambda: lane)
    with pytest.raises(UsageError, match=message):
        check_settings("pretend", QuantizationConfig())
