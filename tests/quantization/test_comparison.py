import pytest

from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.real import load_image_set
from smi_hf.quantization.comparison import compare_calibrations
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.quantizer import Quantizer


@pytest.fixture
def rows(teacher, calibration, photographs):
    noise = [gaussian_noise(teacher.model, 4, seed=seed) for seed in (0, 1, 2)]
    images = load_image_set(str(photographs), teacher.label_names)
    calibrations, labels = {"sparse": [calibration], "noise": noise}, {"sparse": "images", "noise": "images"}
    with Quantizer(teacher, QuantizationConfig(backend="simulated")) as quantizer:
        yield compare_calibrations(quantizer, calibrations, images, labels, disable_tqdm=True)


def test_float32_is_the_first_row_and_each_seed_is_a_run(rows):
    assert [(row.key, len(row.runs)) for row in rows] == [("float32", 1), ("sparse", 1), ("noise", 3)]
    assert rows[0].runs[0].agreement == 1.0
    assert all(0 <= run.top1 <= run.top5 for row in rows for run in row.runs)


def test_rows_of_one_label_stay_apart(rows):
    assert [row.label for row in rows] == ["float32", "images", "images"]


def test_a_simulation_has_neither_size_nor_speed(rows):
    assert all(row.figures == {} for row in rows)
