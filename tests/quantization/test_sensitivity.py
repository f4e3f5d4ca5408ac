import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from smi_hf.environment import missing_packages
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.quantizer import Quantizer
from smi_hf.quantization.sensitivity import measure_sensitivity, save_sensitivity


@pytest.fixture
def damaged(teacher):
    """A teacher whose head answers as before, but does not survive rounding.

    One weight, the same for every label, dwarfs all others: it shifts every logit alike, and at its scale the others
    round to nothing.
    """
    with torch.no_grad():
        teacher.model.model.classifier.weight[:, 0] = 100.0
    return teacher, "classifier"


def report_of(teacher, calibration, **settings):
    settings = QuantizationConfig(**({"weights": 4, "activations": 32, "operators": ("Linear",)} | settings))
    pixels = [batch.numpy() for batch in calibration.filled_images(teacher.model.grid)]
    with Quantizer(teacher, replace(settings, backend="simulated")) as quantizer:
        return quantizer, measure_sensitivity(quantizer, calibration, pixels, disable_tqdm=True)


@pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")
def test_a_damaged_layer_is_the_worst_and_leaving_it_out_helps(damaged, calibration, tmp_path):
    teacher, name = damaged
    quantizer, report = report_of(teacher, calibration)
    assert sorted(cost.name for cost in report.layers) == sorted(quantizer.layers)
    assert max(report.layers, key=lambda cost: cost.divergence).name == name
    assert name in report.exclude
    assert report.without_excluded.divergence < report.everything.divergence
    assert report.everything.num_layers == len(quantizer.layers)
    assert [cost.name for cost in report.operators] == ["Linear"]

    save_sensitivity(report, tmp_path)
    assert json.loads((tmp_path / "sensitivity.json").read_text())["exclude"] == report.exclude
    assert (tmp_path / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    # What a user passes back is accepted.
    exclude = tuple(yaml.safe_load((tmp_path / "exclude.yaml").read_text())["exclude"])
    settings = QuantizationConfig(weights=4, activations=32, operators=("Linear",), exclude=exclude)
    with Quantizer(teacher, replace(settings, backend="simulated")) as again:
        assert set(again.layers) == set(quantizer.layers) - set(exclude)


def test_a_lossless_layer_costs_nothing(teacher, calibration):
    # Weights that lie on the grid of 4 bits already survive rounding to it.
    with torch.no_grad():
        weight = teacher.model.model.classifier.weight
        weight.copy_(torch.from_numpy(np.random.default_rng(0).integers(-7, 8, weight.shape)))
        weight[:, 0] = 7.5
    _, report = report_of(teacher, calibration)
    (head,) = (cost for cost in report.layers if cost.name == "classifier")
    assert head.agreement == 1.0
    assert head.divergence < min(cost.divergence for cost in report.layers if cost.name != "classifier")
