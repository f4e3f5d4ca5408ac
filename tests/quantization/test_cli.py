import json

import pytest

from smi_hf.cli.main import main
from smi_hf.environment import missing_packages

needs_onnx = pytest.mark.skipif(bool(missing_packages("onnx")), reason="the onnx extra needs the full lane")


@needs_onnx
def test_quantize_writes_the_model_and_a_table_with_its_controls(
    tiny_checkpoint, sparse_folder, photographs, tmp_path, capsys
):
    arguments = ["quantize", "--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder]
    arguments += ["--output_dir", tmp_path / "int8", "--eval_dataset", photographs]
    arguments += ["--controls", "gaussian", "dynamic", f"real={photographs}"]
    assert main(list(map(str, arguments))) == 0
    results = json.loads((tmp_path / "int8" / "results.json").read_text())
    names = ["float32", "inverted, kept patches", "Gaussian noise", "dynamic", "real images"]
    assert [row["name"] for row in results["rows"]] == names
    assert results["num_eval_images"] == 20
    reference = results["rows"][0]
    assert reference["agreement"] == 1.0
    assert all(0 <= row["top1"] <= row["top5"] == 1.0 for row in results["rows"])
    assert all(row["latency_ms_1"] > 0 and row["size_mb"] > 0 for row in results["rows"])
    assert "inverted, kept patches" in capsys.readouterr().out

    arguments = ["evaluate", "--model_name_or_path", tmp_path / "int8", "--dataset", photographs, "--disable_tqdm"]
    assert main(list(map(str, [*arguments, "--json", tmp_path / "figures.json"]))) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["backend"] == "onnx"
    assert figures["top1"] == results["rows"][1]["top1"]


def test_evaluate_measures_a_pytorch_checkpoint(tiny_checkpoint, photographs, tmp_path, capsys, teacher):
    file = tmp_path / "figures.json"
    arguments = ["evaluate", "--model_name_or_path", tiny_checkpoint, "--dataset", photographs, "--json", file]
    assert main([*map(str, arguments), "--max_images", "10", "--disable_tqdm"]) == 0
    figures = json.loads(file.read_text())
    assert figures["n"] == 10
    assert figures["backend"] == "pytorch"
    assert "of 10 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--controls", "gausian"], "there is no control 'gausian' (did you mean 'gaussian'?)"),
        (["--controls", "real"], "control 'real' must be written real=DATASET"),
        (["--controls", "gaussian"], "give --eval_dataset as well"),
        (["--backend", "onx"], "invalid choice: 'onx'"),
        (["--dataset", "nowhere/at-all"], "dataset 'nowhere/at-all' is not a folder here"),
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


@pytest.mark.skipif(not missing_packages("onnx"), reason="the extra is here")
def test_an_absent_back_end_names_the_lane(tiny_checkpoint, sparse_folder, tmp_path, capsys):
    arguments = ["quantize", "--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder]
    assert main([*map(str, arguments), "--output_dir", str(tmp_path / "int8")]) == 2
    assert "needs transformers 4: use the full lane" in capsys.readouterr().err
