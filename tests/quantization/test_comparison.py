from dataclasses import replace

import pytest

from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.real import load_image_set
from smi_hf.quantization.comparison import compare
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.quantizer import Quantizer


@pytest.fixture
def rows(teacher, calibration, photographs):
    settings = QuantizationConfig(weights=8, activations=8)
    noise = [gaussian_noise(teacher.model, 4, seed=seed) for seed in (0, 1, 2)]
    images = load_image_set(str(photographs), teacher.label_names)
    with Quantizer(teacher, replace(settings, backend="simulated")) as quantizer:
        yield compare(quantizer, {"sparse": [calibration], "noise": noise}, images, disable_tqdm=True)


def test_float32_is_the_first_row_and_each_seed_is_a_run(rows):
    assert [(row.name, len(row.runs)) for row in rows] == [("float32", 1), ("sparse", 1), ("noise", 3)]
    assert rows[0].runs[0].agreement == 1.0
    assert all(0 <= run.top1 <= run.top5 == 1.0 for row in rows for run in row.runs)


def test_a_simulation_has_neither_size_nor_speed(rows):
    assert all(row.size_mb is None and row.latency_ms_1 is None for row in rows)
