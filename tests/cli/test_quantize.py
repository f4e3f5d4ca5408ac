import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from smi_hf import load_sparse_dataset
from smi_hf.cli.main import main
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import DatasetReference, ModelRecord

needs_openvino = pytest.mark.skipif(bool(missing_packages("openvino")), reason="the openvino extra is absent")
needs_torchao = pytest.mark.skipif(bool(missing_packages("torch")), reason="needs the latest lane with extra torch")
needs_executorch = pytest.mark.skipif(
    bool(missing_packages("executorch")), reason="needs the latest lane with extra executorch"
)
needs_onnx = pytest.mark.skipif(bool(missing_packages("onnx")), reason="the onnx extra is absent")


@needs_onnx
def test_quantize_writes_the_model_and_a_table_with_its_controls(
    tiny_checkpoint, sparse_folder, photographs, tmp_path, capsys
):
    arguments = ["quantize", "--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder]
    arguments += ["--output_dir", tmp_path / "int8", "--eval_dataset", photographs]
    arguments += ["--controls", "gaussian", "dynamic", f"real={photographs}"]
    assert main(list(map(str, arguments))) == 0
    results = json.loads((tmp_path / "int8" / "results.json").read_text())
    assert [row["key"] for row in results["rows"]] == ["float32", "sparse", "gaussian", "dynamic", "real=test.parquet"]
    assert results["measured"] == {"dataset": "test.parquet", "type": "parquet", "split": "train", "num_images": 20}
    reference = results["rows"][0]
    assert [run["agreement"] for run in reference["runs"]] == [1.0]
    assert all(0 <= run["top1"] <= run["top5"] for row in results["rows"] for run in row["runs"])
    assert all(row["figures"]["latency_ms_1"] > 0 and row["figures"]["size_mb"] > 0 for row in results["rows"])
    assert "inverted, kept patches" in capsys.readouterr().out

    arguments = ["evaluate", "--model_name_or_path", tmp_path / "int8", "--dataset", photographs, "--disable_tqdm"]
    assert main(list(map(str, [*arguments, "--json", tmp_path / "figures.json"]))) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["backend"] == "onnx"
    assert figures["top1"] == results["rows"][1]["runs"][0]["top1"]


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("onnx", marks=needs_onnx),
        pytest.param("openvino", marks=needs_openvino),
        pytest.param("torch", marks=needs_torchao),
        "quanto",
    ],
)
def test_every_back_ends_model_is_evaluated_by_the_one_evaluator(
    backend, tiny_checkpoint, sparse_folder, photographs, tmp_path
):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "model"]
    given += ["--eval_dataset", photographs, "--backend", backend, "--disable_tqdm"]
    assert main(["quantize", *map(str, given)]) == 0
    results = json.loads((tmp_path / "model" / "results.json").read_text())
    given = ["--model_name_or_path", tmp_path / "model", "--dataset", photographs, "--json", tmp_path / "figures.json"]
    assert main(["evaluate", *map(str, given), "--disable_tqdm"]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["backend"] == backend
    assert figures["top1"] == results["rows"][1]["runs"][0]["top1"]


def test_several_datasets_and_seeds_are_several_runs_of_a_row(tiny_checkpoint, sparse_folder, photographs, tmp_path):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, sparse_folder]
    given += ["--output_dir", tmp_path / "w4a8", "--eval_dataset", photographs, "--backend", "simulated"]
    given += ["--weights", 4, "--controls", "gaussian", "filled", f"real={photographs}", "--control_seeds", 0, 1, 2]
    assert main(["quantize", *map(str, given), "--disable_tqdm"]) == 0
    results = json.loads((tmp_path / "w4a8" / "results.json").read_text())
    runs = {row["key"]: len(row["runs"]) for row in results["rows"]}
    assert runs == {"float32": 1, "sparse": 2, "gaussian": 3, "filled": 2, "real=test.parquet": 3}
    sparse = results["rows"][1]
    assert sparse["runs"][0] == sparse["runs"][1]
    assert (results["settings"]["weights"], results["settings"]["activations"]) == (4, 8)
    assert [dataset["num_images"] for dataset in results["datasets"]] == [6, 6]


def test_starts_are_rows_of_the_table(tiny_checkpoint, sparse_folder, photographs, tmp_path):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "w8a8"]
    given += ["--eval_dataset", photographs, "--backend", "simulated", "--disable_tqdm", "--control_seeds", 0, 1]
    given += ["--controls", "dead_leaves", "pink", "fractal", f"dataset={photographs}"]
    assert main(["quantize", *map(str, given)]) == 0
    results = json.loads((tmp_path / "w8a8" / "results.json").read_text())
    rows = {row["key"]: (row["label"], len(row["runs"])) for row in results["rows"][2:]}
    assert rows == {
        "dead_leaves": ("dead leaves", 2),
        "pink": ("1/f noise", 2),
        "fractal": ("fractals", 2),
        "dataset=test.parquet": ("pictures of a dataset (test.parquet)", 1),
    }
    assert "dead leaves" in (tmp_path / "w8a8" / "README.md").read_text()


def test_images_of_no_steps_calibrate_and_are_named(smi, tiny_checkpoint, photographs, tmp_path):
    made = ["--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "leaves", "--start", "dead_leaves"]
    assert smi("invert", *made, "--num_steps", 0, "--num_images", 6, "--disable_tqdm").code == 0
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", tmp_path / "leaves", "--eval_dataset", photographs]
    given += ["--backend", "simulated", "--disable_tqdm", "--controls", "dead_leaves", "--output_dir", tmp_path / "w8"]
    assert smi("quantize", *given).code == 0
    rows = json.loads((tmp_path / "w8" / "results.json").read_text())["rows"]
    assert [row["label"] for row in rows[1:]] == ["dead leaves", "dead leaves"]


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("onnx", marks=needs_onnx),
        pytest.param("openvino", marks=needs_openvino),
        pytest.param("torch", marks=needs_torchao),
        pytest.param("executorch", marks=needs_executorch),
        pytest.param("torchao --activations 32", marks=needs_torchao),
        "quanto",
    ],
)
def test_every_model_has_a_record_and_a_card_whose_code_runs(
    backend, tiny_checkpoint, sparse_folder, tmp_path, monkeypatch, capsys
):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "model"]
    assert main(["quantize", *map(str, given), "--backend", *backend.split(), "--num_images", "4"]) == 0
    record = ModelRecord.load(tmp_path / "model")
    assert (record.kind, record.settings["backend"], record.rows) == ("quantized", backend.split()[0], ())
    assert record.teacher.name == "tiny-vit"
    num_kept = load_sparse_dataset(sparse_folder).record.keep_counts[-1]
    assert replace(record.datasets[0], content_sha256=None) == DatasetReference("set", None, None, 4, num_kept, True)
    card = (tmp_path / "model" / "README.md").read_text()
    written = card + record.to_json()
    assert not [name for name in (tmp_path, sparse_folder, tiny_checkpoint, Path.home()) if str(name) in written]

    *first_lines, code = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 36), "red").save("photograph.jpg")
    capsys.readouterr()
    exec(code.replace("path/to/this/folder", str(tmp_path / "model")), {})
    assert re.fullmatch(r"LABEL_\d\n", capsys.readouterr().out)
    for lines in first_lines:
        exec(lines.replace("path/to/this/folder", str(tmp_path / "model")), {})
        assert "'label': 'LABEL_" in capsys.readouterr().out


@pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")
def test_sensitivity_needs_no_real_image_and_gives_an_exclude_list(tiny_checkpoint, sparse_folder, tmp_path, capsys):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "one"]
    given += ["--backend", "simulated", "--operators", "Linear", "--sensitivity", "--disable_tqdm"]
    assert main(["quantize", *map(str, given)]) == 0
    assert "--exclude " in capsys.readouterr().out
    report = json.loads((tmp_path / "one" / "sensitivity.json").read_text())
    given = [*given[:4], "--output_dir", tmp_path / "two", "--backend", "simulated", "--operators", "Linear"]
    assert main(["quantize", *map(str, given), "--exclude", *report["exclude"]]) == 0
    quantized = len(report["layers"]) - len(report["exclude"])
    assert f"{quantized} of " in capsys.readouterr().out


@pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")
def test_compared_back_ends_are_a_table_and_the_recommended_one_makes_the_model(
    smi, tiny_checkpoint, sparse_folder, photographs, tmp_path
):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "model"]
    given += ["--compare", "quanto", "--eval_dataset", photographs, "--disable_tqdm"]
    answer = smi("quantize", *given)
    assert answer.code == 0
    words = answer.out.split()
    for row in (["quanto,", "float32"], ["quanto,", "integers", "*"], ["top-1", "%"], ["images/s"]):
        assert any(words[start : start + len(row)] == row for start in range(len(words))), row
    assert "Recommended: quanto: " in answer.out and "made      quanto model, " in answer.out
    record = ModelRecord.load(tmp_path / "model")
    assert (record.settings["backend"], record.settings["compare"]) == ("quanto", ["quanto"])
    comparison = json.loads((tmp_path / "model" / "comparison.json").read_text())
    # The same models, judged on the same images.
    assert [model["top1"] for model in comparison["models"]] == [row.runs[0].top1 for row in record.rows]
    assert "comparison.json" in record.files


def test_a_checkpoint_alone_is_enough(smi, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("SMI_HF_CACHE", str(tmp_path / "cache"))
    given = ["--model_name_or_path", tiny_checkpoint, "--backend", "simulated", "--disable_tqdm", "--output_dir"]
    first = smi("quantize", *given, tmp_path / "one")
    assert first.code == 0
    assert "32 of tiny-vit, inverted in " in first.err
    assert f"steps (preset calibrate), kept in {tmp_path / 'cache'}" in first.err
    second = smi("quantize", *given, tmp_path / "two")
    assert second.code == 0 and "nothing was computed" in second.err
    one, two = (ModelRecord.load(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert one.datasets[0].is_from_teacher and one.datasets[0].name.startswith("tiny-vit-")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--backend", "quanto", "--weights", "3"],
            "has no weights of 3 bits with activations of 8; it has (weights/activations) 8/8, 4/8",
        ),
        (["--backend", "simulated", "--activations", "1"], "weights 8 and activations 1 are not widths"),
        (["--backend", "simulated", "--operators", "Lineer"], "no operator 'Lineer' (did you mean 'Linear'?)"),
        (["--backend", "simulated", "--exclude", "classifyer"], "(did you mean 'classifier'?) to exclude"),
        (["--backend", "simulated", "--target", "arm64"], "has no targets, but target 'arm64' was given"),
        (["--compare", "quanto", "simulated"], "back end 'simulated' simulates"),
        (["--compare", "all", "--controls", "dead_leaves"], "controls compare what one back end is calibrated on"),
        (["--num_images", "0"], "num_images must be at least 1, but 0 was given"),
        (["--controls", "gausian"], "there is no control 'gausian' (did you mean 'gaussian'?)"),
        (["--controls", "real"], "control 'real' must be written real=DATASET"),
        (["--controls", "gaussian"], "give --eval_dataset as well"),
        (["--controls", "filled=here"], "control 'filled=here' must be written filled"),
        (["--backend", "onx"], "invalid choice: 'onx'"),
        (["--backend", "simulated", "--dataset", "nowhere/at-all"], "dataset 'nowhere/at-all' is not a folder here"),
        (["--backend", "simulated", "--dataset", "out/new"], "To have images made there, write ./out/new"),
    ],
)
def test_a_mistake_is_one_message_before_anything_is_written(
    tiny_checkpoint, sparse_folder, tmp_path, capsys, options, message
):
    arguments = ["quantize", "--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder]
    try:
        code = main([*map(str, arguments), "--output_dir", str(tmp_path / "int8"), *options])
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "int8").exists()


@pytest.mark.parametrize(
    ("lane", "command"),
    [("full", 'pip install "smi-hf[onnx-full] @ git+'), ("latest", 'pip install "smi-hf[onnx] @ git+')],
)
def test_an_absent_back_end_names_the_pip_command_of_the_lane(
    tiny_checkpoint, sparse_folder, tmp_path, capsys, monkeypatch, lane, command
):
    from smi_hf import environment

    monkeypatch.setattr(environment, "dependency_lane", lambda: lane)
    monkeypatch.setattr(environment, "missing_packages", lambda extra: ["onnxruntime"])
    arguments = ["quantize", "--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder]
    assert main([*map(str, arguments), "--output_dir", str(tmp_path / "int8")]) == 2
    assert (
        f"back end 'onnx' needs onnxruntime (static int8 models for ONNX Runtime): {command}"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "int8").exists()
