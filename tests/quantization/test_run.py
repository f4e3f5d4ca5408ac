"""`quantize`: what it writes, what it refuses, and that the command is the verb."""

import json
from dataclasses import replace

import pytest
from timeless import timeless

from smi_hf import QuantizationConfig, UsageError, load_predictor, quantize
from smi_hf.cli.main import main
from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.run import evaluate
from smi_hf.models import Teacher
from smi_hf.quantization.run import check_controls


@pytest.fixture
def config(tmp_path):
    return QuantizationConfig(output_dir=str(tmp_path / "int8"), backend="simulated", disable_tqdm=True)


def test_the_record_is_returned_and_lies_beside_the_model_with_its_card(teacher, dataset, config, images, tmp_path):
    record = quantize(teacher, dataset, config, images=images, controls=["gaussian"])
    assert record == ModelRecord.load(tmp_path / "int8")
    assert [row.key for row in record.rows] == ["float32", "sparse", "gaussian"]
    assert "Gaussian noise" in (tmp_path / "int8" / "README.md").read_text()
    judged = evaluate(load_predictor(str(tmp_path / "int8")), images, disable_tqdm=True)
    assert (judged.top1, judged.backend) == (record.rows[1].runs[0].top1, "simulated")


def test_the_command_and_the_verb_write_the_same_record(
    teacher, dataset, images, sparse_folder, tiny_checkpoint, photographs, tmp_path
):
    config = QuantizationConfig(
        output_dir=str(tmp_path / "verb"), backend="simulated", weights=4, control_seeds=[0, 1], disable_tqdm=True
    )
    verb = quantize(teacher, [dataset, dataset], config, images=images, controls=["gaussian", "filled"])
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, sparse_folder, "--disable_tqdm"]
    given += ["--output_dir", tmp_path / "command", "--backend", "simulated", "--weights", 4, "--control_seeds", 0, 1]
    given += ["--eval_dataset", photographs, "--controls", "gaussian", "filled"]
    assert main(["quantize", *map(str, given)]) == 0
    assert timeless(ModelRecord.load(tmp_path / "command")) == timeless(verb)


def test_two_real_sets_are_two_rows(teacher, dataset, config, images, photographs, tmp_path):
    other = tmp_path / "other.parquet"
    other.write_bytes(photographs.read_bytes())
    record = quantize(teacher, dataset, config, images=images, controls=[f"real={photographs}", f"real={other}"])
    assert [row.key for row in record.rows[2:]] == ["real=test.parquet", "real=other.parquet"]
    assert len({row.label for row in record.rows}) == 4
    assert all(len(row.runs) == 1 for row in record.rows)


def test_images_of_another_model_are_refused_unless_that_is_meant(make_teacher, dataset, config, tmp_path):
    other = make_teacher(seed=1)
    with pytest.raises(UsageError, match="whose weights are not those of"):
        quantize(other, dataset, config)
    assert list(tmp_path.iterdir()) == []
    record = quantize(other, dataset, replace(config, other_teacher=True))
    assert not record.datasets[0].is_from_teacher


@pytest.mark.parametrize("wide", [{"activations": 16}, {"wide_layers": ["*"]}, {"mixed": "auto"}])
def test_dynamic_quantization_has_no_16_bits_to_be_compared_with(wide):
    config = QuantizationConfig(backend="onnx", **wide)
    with pytest.raises(UsageError, match="dynamic quantization has activations of 8 bits and no others; leave out"):
        check_controls(["dynamic"], config, has_images=True)
    check_controls(["dynamic"], QuantizationConfig(backend="onnx"), has_images=True)


def test_a_mixture_that_was_found_is_a_normal_model_and_its_recipe_makes_it_again(
    teacher, dataset, sparse_folder, tiny_checkpoint, tmp_path, capsys
):
    given = ["quantize", "--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--disable_tqdm"]
    found = ["--backend", "simulated", "--weights", 3, "--activations", 4, "--mixed", "auto", "--max_loss", 0]
    assert main([*map(str, [*given, *found, "--output_dir", tmp_path / "found"])]) == 0
    said = capsys.readouterr().out
    assert f"without the search: --config {tmp_path / 'found' / 'recipe.yaml'}" in said
    record = ModelRecord.load(tmp_path / "found")
    assert (record.settings["mixed"], record.settings["max_loss"]) == ("auto", 0)
    assert record.settings["wide_layers"]
    assert record.settings["quantized_layers"] == record.settings["layers"] - len(record.settings["exclude"])
    assert {"recipe.yaml", "mixed.json"} <= set(record.files)
    assert "in 16 bits in" in (tmp_path / "found" / "README.md").read_text()

    recipe = ["--config", tmp_path / "found" / "recipe.yaml", "--output_dir", tmp_path / "again"]
    assert main([*map(str, [*given, *recipe])]) == 0
    again = ModelRecord.load(tmp_path / "again")
    search = {"mixed", "max_loss", "max_size_mb"}
    assert again.settings == {key: value for key, value in record.settings.items() if key not in search}
    name = "fake_quantization.json"
    assert again.files[name] == record.files[name]


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        (["dynamic"], "back end 'simulated' has no dynamic quantization; leave out the control 'dynamic'"),
        (["gaussian", "gaussian"], "control 'gaussian' is given twice"),
        (["gausian"], r"no control 'gausian' \(did you mean 'gaussian'\?\); available: .*dynamic"),
    ],
)
def test_a_control_that_cannot_be_is_refused_before_anything_is_written(
    teacher, dataset, config, images, controls, message, tmp_path
):
    with pytest.raises(UsageError, match=message):
        quantize(teacher, dataset, config, images=images, controls=controls)
    assert list(tmp_path.iterdir()) == []


def test_controls_need_images_to_judge_on(teacher, dataset, config):
    with pytest.raises(UsageError, match="give --eval_dataset"):
        quantize(teacher, dataset, config, controls=["gaussian"])


def test_a_failure_while_judging_leaves_no_folder(teacher, dataset, config, images, monkeypatch, tmp_path):
    def fail(*arguments, **options):
        raise RuntimeError("broken")

    monkeypatch.setattr("smi_hf.quantization.run.compare_calibrations", fail)
    with pytest.raises(RuntimeError, match="broken"):
        quantize(teacher, dataset, config, images=images)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert quantize(teacher, dataset, config, images=images).rows


def test_a_folder_that_exists_is_left_as_it_is(teacher, dataset, config, tmp_path):
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="exists; choose another folder"):
        quantize(teacher, dataset, config)
    assert [path.name for path in (tmp_path / "int8").iterdir()] == ["README.md"]


def test_every_file_of_the_folder_is_in_the_record(teacher, dataset, config, tmp_path):
    record = quantize(teacher, dataset, config)
    written = {path.name for path in (tmp_path / "int8").iterdir()}
    assert written == set(record.files) | {"README.md", "results.json", "report.html"}
    assert json.loads((tmp_path / "int8" / "results.json").read_text())["schema_version"] == 3


@pytest.fixture
def make_teacher(image_processor):
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    def make(seed: int) -> Teacher:
        torch.manual_seed(seed)
        config = ViTConfig(
            image_size=32, patch_size=8, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
            intermediate_size=48, num_labels=5,
        )  # fmt: skip
        return Teacher.from_model(ViTForImageClassification(config), image_processor, name="somebody/else")

    return make


def test_calibrating_on_tiles_is_what_the_control_of_that_name_shows(teacher, dataset, config, images):
    config = replace(config, calibration_patches="tiled")
    record = quantize(teacher, dataset, config, images=images)
    assert record.settings["calibration_patches"] == "tiled"
    assert record.rows[1].label == "inverted, tiled"
    compared = replace(config, calibration_patches="kept", output_dir=f"{config.output_dir}-kept")
    rows = quantize(teacher, dataset, compared, images=images, controls=["tiled", "filled"]).rows
    assert [row.key for row in rows] == ["float32", "sparse", "tiled", "filled"]
    assert rows[2].runs == record.rows[1].runs


def test_a_report_lies_beside_the_model_and_is_not_of_it(teacher, dataset, config, tmp_path):
    record = quantize(teacher, dataset, config)
    assert (tmp_path / "int8" / "report.html").is_file()
    assert "report.html" not in record.files
    quantize(teacher, dataset, replace(config, output_dir=str(tmp_path / "none"), report=False))
    assert not (tmp_path / "none" / "report.html").exists()
