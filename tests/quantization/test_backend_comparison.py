"""Back ends side by side: what is measured of each, and which one is recommended why."""

from dataclasses import replace

import pytest

from smi_hf import QuantizationConfig, RunError, UsageError, load_image_set
from smi_hf.environment import missing_packages
from smi_hf.evaluation.run import evaluate
from smi_hf.quantization.backend_comparison import (
    BackendComparison,
    ModelFigures,
    compare_backends,
    compared_backends,
    recommend,
)
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.quanto import QuantoBackend

HERE = [
    name
    for name in BACKENDS.names()
    if not BACKENDS.get(name).is_simulation and not missing_packages(BACKENDS.get(name).extra)
]
OF_8_BITS = [name for name in HERE if (8, 8) in BACKENDS.get(name).widths]


def model(backend="onnx", *, is_float=False, score=0.85, single=10.0, batch=160.0, size_mb=7.0, top1=None):
    return ModelFigures(backend, is_float, top1, score, size_mb, single, batch)


IN_FLOAT = model(is_float=True, score=1.0, single=20.0, batch=320.0, size_mb=23.0)


@pytest.mark.skipif(not OF_8_BITS, reason="no back end is installed")
def test_every_back_end_is_measured_in_floating_point_and_in_integers(teacher, calibration, tmp_path):
    config = QuantizationConfig(compare=["all"], disable_tqdm=True)
    found = compare_backends(teacher, calibration, config)
    assert [(each.backend, each.is_float) for each in found.models] == [
        (name, is_float) for name in OF_8_BITS for is_float in (True, False)
    ]
    for each in found.models:
        assert each.top1 is None and each.latency_ms_1 > 0 and each.images_per_second > 0
        assert each.agreement == 1.0 or not each.is_float
    by_kind = {(each.backend, each.is_float): each.size_mb for each in found.models}
    assert all(by_kind[name, False] < by_kind[name, True] for name in OF_8_BITS if name == "quanto")
    assert (found.num_images, found.is_real, found.left_out) == (len(calibration), False, {})
    assert found.recommended in OF_8_BITS and found.reason.startswith(f"{found.recommended}: ")
    found.save(tmp_path)
    assert BackendComparison.load(tmp_path) == found


@pytest.mark.skipif("quanto" not in HERE, reason="the quanto extra is absent")
def test_with_real_images_accuracy_is_that_of_the_one_evaluator(teacher, calibration, photographs):
    images = load_image_set(str(photographs), teacher.label_names)
    config = QuantizationConfig(compare=["quanto"], disable_tqdm=True)
    found = compare_backends(teacher, calibration, config, images=images)
    in_float, in_integers = found.models
    assert in_float.top1 == evaluate(teacher, images, disable_tqdm=True).top1
    assert in_float.agreement == 1.0 and in_integers.top1 is not None
    assert (found.num_images, found.is_real) == (20, True)


@pytest.mark.skipif("quanto" not in HERE, reason="the quanto extra is absent")
def test_a_back_end_that_cannot_convert_the_model_is_left_out(teacher, calibration, monkeypatch, caplog):
    class Fails(QuantoBackend):
        def prepare(self, teacher, work):
            raise RunError("this model has no equivalent")

    monkeypatch.setitem(BACKENDS._entries, "fails", Fails())
    config = QuantizationConfig(compare=["fails", "quanto"], disable_tqdm=True)
    found = compare_backends(teacher, calibration, config)
    assert found.left_out == {"fails": "this model has no equivalent"}
    assert {each.backend for each in found.models} == {"quanto"}
    assert "back end fails is left out: this model has no equivalent" in caplog.text
    with pytest.raises(RunError, match="no back end could convert this model: this model has no equivalent"):
        compare_backends(teacher, calibration, replace(config, compare=["fails"]))


def test_all_are_those_that_have_the_widths():
    found = compared_backends(QuantizationConfig(compare=["all"], weights=2)) if "quanto" in HERE else {}
    assert list(found) == [name for name in HERE if name == "quanto"]
    with pytest.raises(UsageError, match="there is no back end to compare: "):
        compared_backends(QuantizationConfig(compare=["all"], weights=3))


def test_a_simulation_has_no_speed_to_compare():
    with pytest.raises(UsageError, match="'simulated' simulates, so its size and speed mean nothing"):
        compared_backends(QuantizationConfig(compare=["simulated"]))


def test_the_fastest_of_those_that_lose_little_is_recommended():
    slow, fast = model("slow", single=12.0, batch=200.0, score=1.0), model("fast", score=0.995)
    wrong = model("wrong", single=1.0, batch=10.0, score=0.5)
    models = [each for name in (slow, fast, wrong) for each in (replace(IN_FLOAT, backend=name.backend), name)]
    backend, reason = recommend(models)
    assert backend == "fast"
    assert reason == (
        "fast: 10.0 ms at batch 1 and 160 ms at 32, 2.0 and 2.0 times as fast as its float32, 7.0 MB instead of 23.0, "
        "0.5 points of agreement lost; slow, the next, takes 1.2 times as long; wrong lost more than 1 point"
    )


def test_where_all_lose_much_the_one_that_loses_least_is_recommended():
    quick, slow = model("a", score=0.5, single=1.0), model("b", score=0.6, single=9.0)
    models = [replace(IN_FLOAT, backend="a"), quick, replace(IN_FLOAT, backend="b"), slow]
    backend, reason = recommend(models)
    assert backend == "b"
    assert reason.endswith("40.0 points of agreement lost; every back end loses more than 1 point, and this one least")


def test_integers_that_are_no_faster_are_called_so():
    _, reason = recommend([replace(IN_FLOAT, latency_ms_1=5.0, latency_ms_32=80.0), model(score=1.0)])
    assert reason.endswith("but float32 of onnx is faster here, so this is for its size")


def test_accuracy_counts_before_agreement():
    in_float = replace(IN_FLOAT, top1=0.8)
    _, reason = recommend([in_float, model(score=0.9, top1=0.81)])
    assert "1.0 points of top-1 won" in reason
