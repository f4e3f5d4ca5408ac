"""The quantizers of transformers' exporters, calibrated by the script on the tiny model."""

import importlib
import json
import logging
from pathlib import Path

import pytest

from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(monkeypatch, tiny_checkpoint, sparse_folder, photographs, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "benchmarks"))
    script = importlib.import_module("exporters")

    def call(*more: object) -> list[dict]:
        given = ["--model_name_or_path", tiny_checkpoint, "--judge", photographs, "--sparse", sparse_folder]
        given += ["--output", tmp_path / "out" / "exporters.json", "--disable_tqdm", *more]
        given += ["--num_images", 6, "--judge_images", 20]
        script.run(list(map(str, given)))
        return json.loads((tmp_path / "out" / "exporters.json").read_text())

    return call


@pytest.mark.skipif(
    dependency_lane() != "latest" or bool(missing_packages("onnx")), reason="transformers 4 has no exporters"
)
def test_every_set_of_images_is_a_row(run, photographs, capsys):
    level = logging.getLogger().level
    lines = run("--controls", "gaussian", "--seeds", 0, 1, "--photographs", photographs)
    # What quantizers say is kept off the screen; what others say later is not.
    assert logging.getLogger().level == level
    assert [line["calibrated_on"] for line in lines] == [
        "",
        "nothing, its sample is noise",
        "nothing, its sample is a photograph",
        "gaussian",
        "sparse images, filled",
        "sparse images, tiled",
    ]
    assert [len(line["top1"]) for line in lines] == [1, 2, 2, 2, 1, 1]
    assert all(0 <= top1 <= 1 for line in lines for top1 in line["top1"])
    assert "| onnxruntime | sparse images, tiled |" in capsys.readouterr().out


def test_a_quantizer_that_fails_is_named_and_its_rows_are_left_out(run, monkeypatch, caplog):
    def fails(*arguments):
        raise AttributeError("type")

    monkeypatch.setitem(importlib.import_module("exporters").QUANTIZERS, "broken", ("fails", fails))
    assert [line["quantizer"] for line in run("--quantizers", "broken")] == ["float32"]
    assert "broken failed on nothing, its sample is noise: AttributeError: type" in caplog.text


def test_what_cannot_be_measured_is_refused_first(run):
    with pytest.raises(UsageError, match=r"there is no quantizer 'onnxruntme' \(did you mean 'onnxruntime'\?\)"):
        run("--quantizers", "onnxruntme")
    with pytest.raises(UsageError, match="num_images must be at least 1, but 0 was given"):
        importlib.import_module("exporters").Arguments("x", "y", ["z"], num_images=0)


@pytest.mark.skipif(
    dependency_lane() != "latest" or bool(missing_packages("onnx")), reason="transformers 4 has no exporters"
)
def test_logits_may_stay_in_floating_point(run):
    lines = run("--quantizers", "onnxruntime_float_logits")
    assert {line["quantizer"] for line in lines[1:]} == {"onnxruntime_float_logits"}
