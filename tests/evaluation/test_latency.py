import time

import numpy as np
import pytest

from smi_hf.evaluation.latency import latencies_ms, speed_figures
from smi_hf.evaluation.predictors import Predictor
from smi_hf.evaluation.table import COLUMNS


def test_the_slower_model_takes_longer_and_every_batch_has_the_asked_shape():
    shapes = set()

    def model(milliseconds: float) -> Predictor:
        def logits(pixels: np.ndarray) -> np.ndarray:
            shapes.add(pixels.shape)
            time.sleep(milliseconds / 1000)
            return np.zeros((len(pixels), 2), dtype=np.float32)

        return Predictor(logits, None, ["a", "b"])

    found = latencies_ms({"fast": model(1), "slow": model(20)}, (3, 8, 4), batch_size=2, repeats=5)
    assert shapes == {(2, 3, 8, 4)}
    # A sleep may be longer than asked, never shorter.
    assert found["slow"] >= 20
    assert 1 <= found["fast"] < found["slow"]


@pytest.mark.parametrize(("repeats", "calls"), [(5, 6), (20, 24)])
def test_the_first_batch_of_a_turn_is_not_timed(repeats, calls):
    counted = []
    predictor = Predictor(lambda pixels: counted.append(1) or np.zeros((1, 2)), None, ["a", "b"])
    latencies_ms({"model": predictor}, (3, 4, 4), batch_size=1, repeats=repeats)
    assert len(counted) == calls


def test_speed_figures_are_the_columns_of_a_table():
    shapes = set()
    predictor = Predictor(lambda pixels: (shapes.add(pixels.shape), np.zeros((1, 2)))[1], None, ["a", "b"])
    found = speed_figures({"model": predictor}, (3, 4, 4))["model"]
    assert shapes == {(1, 3, 4, 4), (32, 3, 4, 4)}
    assert found["images_per_second"] == pytest.approx(32_000 / found["latency_ms_32"])
    assert found.keys() <= {column.key for column in COLUMNS}
