"""What quantizing layers costs: measured on a model with one layer that does not survive rounding."""

import numpy as np
import pytest
import torch

from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.costs import Cost, CostMeter, folder_size, largest, worst_first
from smi_hf.quantization.quantizer import Quantizer


@pytest.fixture
def measured(teacher, calibration):
    """Costs by what was asked: layers, and which of them are wide."""
    pixels = [batch.numpy() for batch in calibration.filled_images(teacher.model.grid)]

    def measure(*asked, **settings):
        config = QuantizationConfig(backend="simulated", **settings)
        with Quantizer(teacher, config) as quantizer:
            meter = CostMeter(quantizer, calibration, pixels)
            assert meter.num_images == len(calibration)
            return [
                meter.cost("some", layers or quantizer.layers, wide=quantizer.layers if wide else [])
                for layers, wide in asked
            ]

    return measure


def test_floating_point_costs_nothing(measured):
    (cost,) = measured(([], False), weights=32, activations=32)
    assert (cost.agreement, cost.divergence) == (1.0, 0.0)


def test_wide_layers_cost_less_than_narrow_ones(measured):
    narrow, wide = measured(([], False), ([], True), weights=32, activations=4)
    assert 0 < wide.divergence < 0.01 * narrow.divergence


def test_one_layer_costs_less_than_all(measured):
    one, every = measured((["classifier"], False), ([], False), weights=3, activations=32)
    assert (one.num_layers, one.name) == (1, "some")
    assert 0 < one.divergence < every.divergence


def test_divergence_is_that_of_the_answers(teacher, calibration, measured, tmp_path):
    pixels = calibration.pixels_BCHW.numpy()
    config = QuantizationConfig(backend="simulated", weights=3, activations=32)
    with Quantizer(teacher, config) as quantizer:
        quantizer.quantize(calibration, tmp_path / "model")
        found = CostMeter(quantizer, calibration, [pixels]).cost("all", quantizer.layers)
        models = quantizer.float_predictor(), quantizer.load(tmp_path / "model")
        logits = [torch.from_numpy(model(pixels)) for model in models]
    expected = torch.nn.functional.kl_div(
        logits[1].log_softmax(1), logits[0].log_softmax(1), reduction="batchmean", log_target=True
    )
    assert found.divergence == pytest.approx(expected.item(), rel=1e-4)
    assert found.agreement == (logits[0].argmax(1) == logits[1].argmax(1)).double().mean().item()


def test_the_size_is_that_of_the_weights(tmp_path):
    for name, size in (("model.onnx", 10), ("model.safetensors", 5), ("config.json", 100)):
        (tmp_path / name).write_bytes(np.zeros(size, np.uint8).tobytes())
    assert folder_size(tmp_path) == 15


def test_costs_are_ordered_and_the_largest_make_up_a_share():
    costs = [Cost(name, 1, agreement, divergence) for name, agreement, divergence in
             (("a", 1.0, 0.1), ("b", 0.5, 0.2), ("c", 1.0, 0.6), ("d", 1.0, 0.1))]  # fmt: skip
    assert [cost.name for cost in worst_first(costs)] == ["b", "c", "a", "d"]
    assert [cost.name for cost in largest(costs, 0.5)] == ["c"]
    assert [cost.name for cost in largest(costs, 0.7)] == ["c", "b"]
    assert largest([Cost("a", 1, 1.0, 0.0)], 0.5) == []
