"""`smi-hf distill`: what the command adds to the verb, and mistakes."""

import json
import re
import shutil

import pytest
from transformers import AutoModelForImageClassification

from smi_hf import SparseInversionConfig, SparseInversionTrainer, load_sparse_dataset, load_student
from smi_hf.cli.main import main
from smi_hf.distillation import SparseDistillationConfig, distill
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import ModelRecord
from smi_hf.images.real import load_image_set

needs_plots = pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")
needs_quanto = pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")


@pytest.fixture(autouse=True)
def _own_precision(own_precision):
    """For every test here."""


@pytest.fixture
def run(tiny_checkpoint, sparse_folder, tmp_path):
    """Runs the command for a moment; returns its exit code."""

    def run(*options, name="student", dataset=sparse_folder, student=tiny_checkpoint):
        given = ["--teacher", tiny_checkpoint, "--dataset", dataset]
        given += ["--student", student] if student else []
        given += ["--output_dir", tmp_path / name, "--num_train_epochs", 2, "--per_device_train_batch_size", 4]
        given += ["--use_cpu", "true", "--disable_tqdm", "true", *options]
        try:
            return main(["distill", *map(str, given)])
        except SystemExit as exit:
            return exit.code

    return run


def without_seconds(record: ModelRecord) -> dict:
    values = json.loads(record.to_json())
    for row in values["rows"]:
        row["figures"].pop("seconds", None)
    # The chart's legend holds no time, but its file holds when it was made.
    values["files"].pop("learning_curves.png", None)
    return values


@needs_plots
def test_command_and_verb_write_the_same_record(run, teacher, tiny_checkpoint, sparse_folder, photographs, tmp_path):
    options = ["--from_scratch", "--eval_dataset", photographs, "--max_images", 12, "--eval_strategy", "epoch"]
    assert run(*options, "--controls", "gaussian", "filled", "--control_seeds", 0, 1, "--temperature", 3) == 0
    config = SparseDistillationConfig(
        output_dir=str(tmp_path / "python"),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        use_cpu=True,
        disable_tqdm=True,
        eval_strategy="epoch",
        control_seeds=[0, 1],
        temperature=3.0,
    )
    record = distill(
        teacher,
        load_student(str(tiny_checkpoint), teacher, from_scratch=True, seed=config.seed),
        load_sparse_dataset(sparse_folder),
        config,
        images=load_image_set(str(photographs), teacher.label_names, max_images=12),
        controls=["gaussian", "filled"],
    )
    assert without_seconds(record) == without_seconds(ModelRecord.load(tmp_path / "student"))
    cards = [(tmp_path / name / "README.md").read_text() for name in ("student", "python")]
    lines = [[line for line in card.splitlines() if not line.startswith("|")] for card in cards]
    assert lines[0] == lines[1]


def test_the_command_prints_the_table_and_what_comes_next(run, photographs, tmp_path, capsys):
    assert run("--eval_dataset", photographs) == 0
    printed = capsys.readouterr()
    assert "inverted, kept patches" in printed.out
    assert f"smi-hf push {tmp_path / 'student'} NAME" in printed.out
    assert "the student was judged on 20 images, which says little" in printed.err


def test_without_real_images_the_command_prints_the_agreement(run, capsys):
    assert run("--held_out", 0.4) == 0
    assert re.search(r"agreement with the teacher [\d.]+ % \(95 % interval .*\) of 2 images", capsys.readouterr().out)


@needs_quanto
def test_what_was_saved_answers_as_its_row_says(run, photographs, tmp_path):
    assert run("--quantize_weights", 2, "--eval_dataset", photographs) == 0
    (row,) = [row for row in ModelRecord.load(tmp_path / "student").rows if row.key == "sparse"]
    given = ["--model_name_or_path", tmp_path / "student" / "quantized", "--dataset", photographs, "--disable_tqdm"]
    assert main(["evaluate", *map(str, given), "--json", str(tmp_path / "figures.json")]) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["top1"] == row.runs[0].top1


def test_rounds_grow_one_pool_whose_images_stay_as_they_are(run, teacher, tiny_checkpoint, tmp_path):
    recipe = tmp_path / "inversion.yaml"
    recipe.write_text(f"model_name_or_path: {tiny_checkpoint}\nnum_steps: 4\ndisable_tqdm: true\n")
    options = ["--rounds", 2, "--images_per_round", 3, "--inversion_config", recipe, "--held_out", 0.4]
    assert run(*options, dataset=tmp_path / "pool") == 0
    grown = load_sparse_dataset(tmp_path / "pool")
    assert len(grown) == 6 and grown.record.settings["num_steps"] == 4
    record = ModelRecord.load(tmp_path / "student")
    assert (record.settings["rounds"], record.datasets[0].name, record.datasets[0].num_images) == (2, "pool", 6)
    # A pool made in one go has the same.
    config = SparseInversionConfig(
        output_dir=str(tmp_path / "whole"), num_images=6, batch_size=3, num_steps=4, disable_tqdm=True
    )
    SparseInversionTrainer(teacher, config).train()
    for mine, theirs in zip(grown.dataset, load_sparse_dataset(tmp_path / "whole").dataset):
        assert mine["kept_patches"] == theirs["kept_patches"]
        assert mine["image"].tobytes() == theirs["image"].tobytes()
    # Another inversion is refused before anything is made.
    recipe.write_text("num_steps: 5\ndisable_tqdm: true\n")
    shutil.rmtree(tmp_path / "pool")
    assert run(*options, dataset=tmp_path / "pool") == 2
    assert not (tmp_path / "pool").exists()


def test_layers_of_the_teacher_make_a_student_by_one_option(run, teacher, photographs, tmp_path, caplog, capsys):
    options = ["--student_layers", "1", "--hidden_state_weight", 1]
    with caplog.at_level("INFO", "smi_hf"):
        assert run(*options, student=None) == 0
    record = ModelRecord.load(tmp_path / "student")
    (layer,) = record.settings["student_layers"]
    assert f"the student gets the layers {layer} of the teacher's 2" in caplog.text
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "student")
    assert model.config.num_hidden_layers == 1 and list(model.config.id2label.values()) == teacher.label_names
    assert (tmp_path / "student" / "preprocessor_config.json").is_file()
    # The same command finds it finished; the same layer by its number, too; and any other is another lesson.
    digest = record.files["model.safetensors"]
    assert run(*options, student=None) == 0
    assert run("--student_layers", f"{layer},", *options[2:], student=None) == 0
    assert ModelRecord.load(tmp_path / "student").files["model.safetensors"] == digest
    assert run("--student_layers", f"{1 - layer},", *options[2:], student=None) == 2
    assert f"student_layers was [{layer}] and is now [{1 - layer}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "student names a checkpoint that learns, student_layers the teacher's own layers, and neither was given"),
        (["--student_layers", "3"], "num_layers is 3, but the model has 2 layers; from 1 to that many stay"),
        (["--student_layers", "0,2"], "layers is 0 2, but names those that stay, ascending, each once, from 0 to 1"),
        (["--student_layers", "1", "--rounds", "2"], "name the layers that stay ('0,2'), or leave out rounds"),
        (["--student_layers", "1", "--from_scratch"], "from_scratch says what becomes of a checkpoint"),
    ],
)
def test_layers_that_cannot_make_a_student_are_one_sentence(run, tmp_path, capsys, options, message):
    assert run(*options, student=None) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed
    assert not (tmp_path / "student").exists()


MISTAKES = [
    (["--student_layers", "1"], "and both were given; give one of them"),
    (["--controls", "gaussian"], "give --eval_dataset as well"),
    (["--controls", "gausian"], "there is no control 'gausian' (did you mean 'gaussian'?)"),
    (["--loss", "kld"], "invalid choice: 'kld'"),
    (["--augmentations", "flop"], "there is no augmentation 'flop' (did you mean 'flip'?)"),
    (["--temperature", "0"], "temperature must be above 0"),
    (["--temperature", "inf"], "temperature must be above 0 and at most 10000, but inf was given"),
    (["--learning_rate", "nan"], "learning_rate must be above 0, but nan was given"),
    (["--seed", "-1"], "seed must be from 0 to 2**32 - 1, but -1 was given"),
    (["--rounds", "-1"], "rounds must be at least 0"),
    (["--rounds", "2", "--num_images", "3"], "rounds grow one dataset"),
    (["--rounds", "2", "--quantize_weights", "4"], "leave out rounds"),
    (["--inversion_config", "x.yaml"], "give --rounds as well"),
    (["--rounds", "2", "--inversion_config", "x.yaml"], "x.yaml cannot be read"),
    (["--exclude", "x"], "exclude belongs to quantize_weights, which was not given"),
    (["--quantize_activations", "32"], "quantize_activations belongs to quantize_weights"),
    (["--num_images", "7"], "num_images is 7, but the dataset has 6 images"),
    (["--num_images", "0"], "num_images must be from 1 to 2**31 - 1, but 0 was given"),
    (["--max_images", "0"], "max_images must be at least 1, but 0 was given"),
    (["--freeze_backbone", "--feature_weight", "1"], "freeze_backbone lets only the head learn"),
    (["--held_out", "1.5"], "held_out must be above 0 and below 1"),
    (["--temprature", "2"], "(did you mean '--temperature'?)"),
    (["--label_smoothing_factor", "0.1"], "label_smoothing_factor has no effect in a distillation"),
    (["--report_to", "tensorbord"], "report_to 'tensorbord' is no tracker"),
    (["--eval_strategy", "sometimes"], "sometimes"),
    (["--optim", "adamw_8bit"], "optim 'adamw_8bit' cannot be used"),
    (["--metric_for_best_model", "top1", "--load_best_model_at_end", "true"], "a setting of TrainingArguments"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_a_mistake_is_one_sentence_before_anything_is_written(run, tmp_path, capsys, options, message):
    assert run(*options) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed
    assert not (tmp_path / "student").exists()


def test_a_student_that_is_not_there_is_one_sentence(run, tmp_path, capsys):
    assert run(student=tmp_path / "nowhere") == 2
    printed = capsys.readouterr().err
    # transformers 5 draws a bar while the teacher is loaded.
    said = [line for line in printed.splitlines() if line.startswith("smi-hf")]
    assert len(said) == 1 and "there is no folder" in said[0] and "Traceback" not in printed
    assert not (tmp_path / "student").exists()


def test_a_folder_of_somebody_else_is_left_as_it_is(run, tmp_path, capsys):
    theirs = {"README.md": "# mine", "config.json": "{}", "results.json": "[1, 2]"}
    (tmp_path / "student").mkdir()
    for name, text in theirs.items():
        (tmp_path / "student" / name).write_text(text)
    assert run() == 2
    assert "holds files that smi-hf distill did not write (README.md, config.json, results.json" in (
        capsys.readouterr().err
    )
    assert {path.name: path.read_text() for path in (tmp_path / "student").iterdir()} == theirs
