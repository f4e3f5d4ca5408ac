"""`smi-hf distill`: student, table, learning curve, rounds, and mistakes."""

import json
from pathlib import Path

import pytest

from smi_hf.cli.main import main
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import ModelRecord

needs_plots = pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")


@pytest.fixture
def distill(tiny_checkpoint, sparse_folder, tmp_path):
    def run(*options, name="student", dataset=sparse_folder):
        given = ["--teacher", tiny_checkpoint, "--student", tiny_checkpoint, "--dataset", dataset, "--from_scratch"]
        given += ["--output_dir", tmp_path / name, "--num_train_epochs", 2, "--per_device_train_batch_size", 4]
        given += ["--use_cpu", "true", "--disable_tqdm", "true", *options]
        try:
            return main(["distill", *map(str, given)])
        except SystemExit as exit:
            return exit.code

    return run


@needs_plots
def test_distill_writes_the_student_a_table_with_controls_and_a_curve(distill, photographs, tmp_path, capsys):
    options = ["--eval_dataset", photographs, "--eval_strategy", "epoch", "--control_seeds", 0, 1]
    assert distill(*options, "--controls", "gaussian", "filled", f"real={photographs}") == 0
    results = json.loads((tmp_path / "student" / "results.json").read_text())
    rows = {row["name"]: row for row in results["rows"]}
    assert list(rows) == [
        "teacher",
        "inverted, kept patches",
        "Gaussian noise",
        "inverted, gaps black",
        "real images",
    ]
    assert [len(row["runs"]) for row in rows.values()] == [1, 1, 2, 1, 2]
    assert rows["teacher"]["agreement"] == 1.0
    assert {row["num_images"] for name, row in rows.items() if name != "teacher"} == {6}
    assert [epoch for epoch, _ in rows["Gaussian noise"]["curve"]] == [1.0, 2.0]
    assert (tmp_path / "student" / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert "inverted, kept patches" in capsys.readouterr().out
    assert results["measured"]["num_images"] == 20
    assert results["pictures"] == ["learning_curves.png"]
    assert "(learning_curves.png)" in (tmp_path / "student" / "README.md").read_text()

    # What was saved is the student of the first row, which stock transformers loads and the evaluator judges alike.
    given = ["--model_name_or_path", tmp_path / "student", "--dataset", photographs, "--disable_tqdm"]
    assert main(["evaluate", *map(str, given), "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["top1"] == rows["inverted, kept patches"]["top1"]


@needs_plots
@pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")
def test_a_rounded_student_is_judged_beside_its_untrained_self_and_quanto_alone(
    tiny_checkpoint, sparse_folder, photographs, tmp_path, capsys
):
    given = ["--teacher", tiny_checkpoint, "--student", tiny_checkpoint, "--dataset", sparse_folder]
    given += ["--output_dir", tmp_path / "w2a8", "--quantize_weights", 2, "--hidden_state_weight", 10]
    given += ["--num_train_epochs", 1, "--use_cpu", "true", "--disable_tqdm", "true", "--eval_dataset", photographs]
    assert main(["distill", *map(str, given)]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "w2a8" / "results.json").read_text())["rows"]}
    assert list(rows) == ["teacher", "inverted, kept patches", "rounded, not trained", "quanto alone"]
    assert "rounded, not trained" in capsys.readouterr().out
    # What was saved answers as the row says.
    given = ["--model_name_or_path", tmp_path / "w2a8" / "quantized", "--dataset", photographs, "--disable_tqdm"]
    assert main(["evaluate", *map(str, given), "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["top1"] == rows["inverted, kept patches"]["top1"]


def test_without_real_images_agreement_is_judged_on_held_out_synthetic_ones(distill, tmp_path, capsys):
    assert distill("--held_out", 0.4) == 0
    assert "agreement with the teacher on held-out synthetic images: " in capsys.readouterr().out
    record = ModelRecord.load(tmp_path / "student")
    assert record.held_out["num_images"] == 2
    assert 0 <= record.held_out["agreement"] <= 1


def test_a_student_has_a_record_and_a_card_that_name_no_path(distill, tiny_checkpoint, sparse_folder, tmp_path):
    assert distill("--num_images", 5, "--held_out", 0.4, "--temperature", 3) == 0
    record = ModelRecord.load(tmp_path / "student")
    assert (record.kind, record.rows, record.measured) == ("distilled", [], None)
    assert (record.student["name"], record.student["from_scratch"]) == ("tiny-vit", True)
    assert (record.datasets[0]["name"], record.datasets[0]["num_images"]) == ("set", 5)
    settings = record.settings
    assert (settings["temperature"], settings["num_train_epochs"], settings["rounds"]) == (3.0, 2, 0)
    written = (tmp_path / "student" / "README.md").read_text() + record.to_json()
    assert not [name for name in (tmp_path, sparse_folder, tiny_checkpoint, Path.home()) if str(name) in written]


@pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")
def test_the_integers_of_a_rounded_student_have_a_record_and_a_card_of_their_own(distill, tmp_path):
    assert distill("--quantize_weights", 4, "--held_out", 0.4, "--temperature", 3) == 0
    student, integers = (ModelRecord.load(tmp_path / folder) for folder in ("student", "student/quantized"))
    assert (student.kind, integers.kind) == ("distilled", "quantized")
    assert student.settings["quantization"]["weights"] == integers.settings["weights"] == 4
    assert integers.settings["backend"] == "quanto"
    assert integers.settings["temperature"] == 3.0
    assert (integers.student, integers.held_out) == (student.student, student.held_out)
    assert "optimum-quanto" in integers.environment["packages"]
    assert "load_model(Path(folder))" in (tmp_path / "student" / "quantized" / "README.md").read_text()
    assert "lies in its folder `quantized`" in (tmp_path / "student" / "README.md").read_text()


def test_rounds_grow_one_pool_and_continue_where_they_were_cut_off(distill, tiny_checkpoint, tmp_path, capsys, caplog):
    from smi_hf import load_sparse_dataset

    recipe = tmp_path / "inversion.yaml"
    recipe.write_text("num_steps: 4\ndisable_tqdm: true\n")
    options = ["--rounds", 2, "--images_per_round", 3, "--inversion_config", recipe, "--held_out", 0.4]
    pool = tmp_path / "pool"
    assert distill(*options, dataset=pool) == 0
    grown = load_sparse_dataset(pool)
    assert len(grown) == 6
    assert grown.record.settings["num_steps"] == 4
    assert (tmp_path / "student" / "round-2" / "config.json").is_file()

    # The images of the first round stayed as they were: a pool made in one go has the same.
    whole = tmp_path / "whole"
    given = ["--model_name_or_path", tiny_checkpoint, "--output_dir", whole, "--num_images", 6, "--batch_size", 3]
    assert main(["invert", *map(str, given), "--config", str(recipe)]) == 0
    for mine, theirs in zip(grown.dataset, load_sparse_dataset(whole).dataset):
        assert mine["kept_patches"] == theirs["kept_patches"]
        assert mine["image"].tobytes() == theirs["image"].tobytes()

    # Cut off in round 2: round 1 is not done again.
    (tmp_path / "student" / "round-2" / "config.json").unlink()
    caplog.clear()
    assert distill(*options, dataset=pool) == 0
    assert "round 1 of 2 is done already" in caplog.text
    assert "round 2 of 2: 6 images" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--controls", "gaussian"], "give --eval_dataset as well"),
        (["--controls", "gausian"], "there is no control 'gausian' (did you mean 'gaussian'?)"),
        (["--loss", "kld"], "invalid choice: 'kld'"),
        (["--augmentations", "flop"], "there is no augmentation 'flop' (did you mean 'flip'?)"),
        (["--temperature", "0"], "temperature must be above 0, but 0.0 was given"),
        (["--rounds", "2", "--num_images", "3"], "rounds grow one dataset"),
        (["--inversion_config", "x.yaml"], "give --rounds as well"),
        (["--num_images", "7"], "num_images is 7, but the dataset has 6 images"),
        (["--freeze_backbone", "--feature_weight", "1"], "freeze_backbone lets only the head learn"),
        (["--held_out", "1.5"], "held_out is a share of the images between 0 and 1"),
        (["--temprature", "2"], "(did you mean '--temperature'?)"),
    ],
)
def test_a_mistake_is_one_message_before_anything_is_written(distill, tmp_path, capsys, options, message):
    assert distill(*options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "student").exists()
