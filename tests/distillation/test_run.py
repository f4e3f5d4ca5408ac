"""The verb `distill`: what it writes, what the record says, and whose files it touches."""

import copy
import json
import logging

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, ViTImageProcessor

from smi_hf import UsageError, evaluate
from smi_hf.distillation import SparseDistillationTrainer, StudentModel, load_student
from smi_hf.distillation.lessons import Lesson
from smi_hf.environment import missing_packages
from smi_hf.evaluation.predictors import pytorch_predictor
from smi_hf.evaluation.record import ModelRecord
from smi_hf.quantization.qat import QuantizationAwareTraining

needs_plots = pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")
needs_quanto = pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")


@pytest.fixture
def no_training(monkeypatch):
    """Makes every training an error from now on."""

    def refuse():
        def train(self, *arguments, **options):
            pytest.fail("a student was taught")

        monkeypatch.setattr(SparseDistillationTrainer, "train", train)

    return refuse


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What it writes


@needs_plots
def test_a_table_has_a_row_for_each_control_and_the_curves_of_first_runs(run, real_images, photographs, folder):
    record = run(
        images=real_images,
        controls=["gaussian", "pink", "filled", f"real={photographs}"],
        control_seeds=[0, 1],
        eval_strategy="epoch",
    )
    rows = {row.key: row for row in record.rows}
    assert {key: row.label for key, row in rows.items()} == {
        "teacher": "teacher",
        "sparse": "inverted, kept patches",
        "gaussian": "Gaussian noise",
        "pink": "1/f noise",
        "filled": "inverted, gaps black",
        "real=test.parquet": "real images (test.parquet), which judge as well",
    }
    assert [len(row.runs) for row in rows.values()] == [1, 1, 2, 2, 1, 2]
    assert rows["teacher"].runs[0].agreement == 1.0
    sizes = {"parameters": record.student.num_parameters / 1e6, "macs": rows["sparse"].figures["macs"]}
    # The student has its teacher's architecture; controls are of its size, and say nothing of it.
    assert rows["teacher"].figures == sizes == {key: rows["sparse"].figures[key] for key in sizes}
    assert not sizes.keys() & rows["gaussian"].figures.keys()
    assert {row.figures["num_images"] for key, row in rows.items() if key != "teacher"} == {6}
    assert all(row.figures["seconds"] > 0 for key, row in rows.items() if key != "teacher")
    assert record.curves.keys() == rows.keys() - {"teacher"}
    assert [epoch for epoch, _ in record.curves["gaussian"]] == [1.0, 2.0]
    assert (folder / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert record.pictures == ("learning_curves.png",)
    assert "(learning_curves.png)" in (folder / "README.md").read_text()
    assert record.measured.num_images == 20
    assert record == ModelRecord.load(folder)


def test_what_is_saved_is_the_student_of_the_first_row(run, real_images, folder, image_processor):
    record = run(images=real_images, controls=["gaussian"])
    model = AutoModelForImageClassification.from_pretrained(folder)
    alone = evaluate(pytorch_predictor(model, image_processor), real_images, disable_tqdm=True)
    assert alone.top1 == record.rows[1].runs[0].top1
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= record.files.keys()


def test_more_datasets_are_further_runs(run, real_images, dataset):
    record = run(images=real_images, datasets=[dataset, dataset.first(5)])
    assert len(record.rows[1].runs) == 2
    assert [each.num_images for each in record.datasets] == [6, 5]


def test_without_real_images_agreement_is_judged_on_held_out_synthetic_ones(run):
    record = run(held_out=0.4)
    assert record.held_out.num_images == 2 and 0 <= record.held_out.agreement <= 1
    assert (record.kind, record.rows, record.measured) == ("distilled", (), None)


def test_the_student_that_is_given_stays_as_it_is_and_teaches_alike_again(run, make_student, tmp_path):
    student = make_student()
    before = copy.deepcopy(student.model.state_dict())
    for name in ("one", "two"):
        run(student=student, output_dir=str(tmp_path / name))
        assert equal(student.model.state_dict(), before)
    assert equal(weights(tmp_path / "one"), weights(tmp_path / "two"))


# Preprocessing: one image processor for each model


@pytest.fixture
def other_preprocessing(make_vit, tmp_path):
    """Writes a student with other mean and std and, if asked, another image size; returns its folder."""

    def save(image_size=32):
        folder = tmp_path / f"student-{image_size}"
        make_vit(image_size=image_size).save_pretrained(folder)
        ViTImageProcessor(
            size={"height": image_size, "width": image_size}, image_mean=[0.1, 0.3, 0.8], image_std=[0.9, 0.2, 0.4]
        ).save_pretrained(folder)
        return folder

    return save


@pytest.mark.parametrize("image_size", [32, 64])
def test_teacher_and_student_are_each_judged_with_their_own_preprocessing(
    image_size, other_preprocessing, run, teacher, real_images, folder
):
    student = load_student(str(other_preprocessing(image_size)), teacher)
    record = run(student=student, images=real_images, controls=["gaussian"])
    alone = evaluate(teacher, real_images, disable_tqdm=True)
    assert record.rows[0].runs[0].top1 == alone.top1
    model = AutoModelForImageClassification.from_pretrained(folder)
    own = evaluate(pytorch_predictor(model, student.image_processor), real_images, disable_tqdm=True)
    assert record.rows[1].runs[0].top1 == own.top1
    if image_size == 32:
        # The test could not fail if preprocessing made no difference.
        wrong = pytorch_predictor(teacher.model.model, student.image_processor)
        assert evaluate(wrong, real_images, disable_tqdm=True).top1 != alone.top1
    assert record.student.sees == ("kept patches" if image_size == 32 else "filled images")


def test_an_image_processor_that_does_not_fit_its_student_is_refused_before_anything_is_taught(
    run, make_vit, real_images, folder, no_training
):
    no_training()
    student = StudentModel(make_vit(), ViTImageProcessor(size={"height": 64, "width": 64}))
    with pytest.raises(UsageError, match=r"makes images of 64x64 px, which the student does not take"):
        run(student=student, images=real_images)
    assert not folder.exists()


@needs_quanto
def test_a_student_is_calibrated_in_its_own_normalization(run, other_preprocessing, teacher, real_images):
    # Where both see the same pixels, a student that undoes the other normalization answers alike.
    seen = []

    class Watched(QuantizationAwareTraining):
        def prepare(self, model, images, **options):
            seen.append(images.pixels_BCHW)
            return super().prepare(model, images, **options)

    run(quantization=Watched(8))
    run(
        student=load_student(str(other_preprocessing()), teacher),
        quantization=Watched(8),
        overwrite_output_dir=True,
    )
    ours, theirs = seen
    plain = [ours * 0.5 + 0.5, theirs * torch.tensor([0.9, 0.2, 0.4])[:, None, None]]
    assert torch.allclose(plain[0], plain[1] + torch.tensor([0.1, 0.3, 0.8])[:, None, None], atol=1e-5)


# Where a student comes from


def test_a_model_that_is_no_student_is_refused(run, student):
    with pytest.raises(UsageError, match=r"the student is a ViTForImageClassification; give what smi_hf.load_student"):
        run(student=student)


# Quantization


@needs_quanto
def test_a_rounded_student_is_judged_beside_its_untrained_self_and_quanto_alone(run, real_images, folder):
    record = run(images=real_images, quantization=QuantizationAwareTraining(4), hidden_state_weight=10.0)
    assert [row.label for row in record.rows] == [
        "teacher",
        "inverted, kept patches",
        "rounded, not trained",
        "quanto alone",
    ]
    assert "seconds" not in record.rows[2].figures
    integers = ModelRecord.load(folder / "quantized")
    assert (record.kind, integers.kind) == ("distilled", "quantized")
    assert record.settings["quantization"]["weights"] == integers.settings["weights"] == 4
    assert (integers.settings["backend"], integers.settings["temperature"]) == ("quanto", 2.0)
    assert (integers.student, integers.rows) == (record.student, record.rows)
    assert "optimum-quanto" in integers.environment.packages
    assert integers.runtime.library == "optimum-quanto" and integers.changed_file(folder / "quantized") is None
    assert "preprocessor_config.json" in integers.files
    assert "in its folder `quantized`" in (folder / "README.md").read_text()


@needs_quanto
def test_a_rounded_student_is_not_taught_again_for_another_table(run, real_images, folder, no_training, monkeypatch):
    quantization = QuantizationAwareTraining(4)
    first = run(images=real_images, quantization=quantization)
    before = weights(folder), weights(folder / "quantized")
    (folder / "results.json").unlink()
    no_training()
    second = run(images=real_images, quantization=quantization)
    assert second.rows[1].runs == first.rows[1].runs
    assert equal(weights(folder), before[0]) and equal(weights(folder / "quantized"), before[1])


# Whose files


def test_a_finished_student_is_not_taught_again_and_its_files_stay(run, folder, no_training, caplog):
    first = run()
    before = contents(folder)
    no_training()
    with caplog.at_level(logging.INFO, "smi_hf"):
        assert run() == first
    assert contents(folder) == before
    assert "is finished already; nothing was taught" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 3.0}, "temperature was 2.0 and is now 3.0"),
        ({"loss": "mse"}, "loss was 'kl' and is now 'mse'"),
        ({"num_train_epochs": 3}, "num_train_epochs was 2 and is now 3"),
        ({"num_images": 5}, "num_images was 6 and is now 5"),
        ({"student": {"seed": 1}}, "student_weights_sha256 was "),
        ({"student": {"from_scratch": False}}, "from_scratch was True and is now False"),
    ],
)
def test_a_finished_student_that_was_taught_otherwise_is_refused_with_the_differences(
    changes, message, run, make_student, folder, no_training
):
    run()
    before = contents(folder)
    no_training()
    if "student" in changes:
        changes = {"student": make_student(**changes["student"])}
    with pytest.raises(UsageError, match=f"holds a student that was taught otherwise: .*{message}") as error:
        run(**changes)
    assert "\n" not in str(error.value) and "choose another folder" in str(error.value)
    assert contents(folder) == before


def test_another_table_is_made_of_the_same_student(run, real_images, folder, monkeypatch):
    first = run(images=real_images, controls=["gaussian"])
    saved = weights(folder)
    taught = []
    train = SparseDistillationTrainer.train
    monkeypatch.setattr(
        SparseDistillationTrainer, "train", lambda self, *args: (taught.append(self.taught_on.source), train(self))
    )
    second = run(images=real_images, controls=["filled"])
    assert taught == ["inverted, gaps black"]
    assert [row.key for row in second.rows] == ["teacher", "sparse", "filled"]
    assert second.rows[1] == first.rows[1] and equal(weights(folder), saved)


def test_a_student_that_was_changed_since_is_refused(run, folder):
    run()
    path = folder / "config.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UsageError, match=r"config.json was changed since, and lesson.json is the record"):
        run()


def test_a_folder_with_files_of_other_origin_is_left_as_it_is(run, folder, no_training):
    no_training()
    folder.mkdir()
    (folder / "README.md").write_text("# mine")
    (folder / "results.json").write_text(json.dumps({"accuracy": 1}))
    before = contents(folder)
    for options in ({}, {"overwrite_output_dir": True}):
        with pytest.raises(UsageError, match=r"files that smi-hf distill did not write \(README.md, results.json; it"):
            run(**options)
    assert contents(folder) == before
    with pytest.raises(UsageError, match="cannot"):
        run(output_dir=str(folder / "README.md"))
    assert contents(folder) == before


def test_an_empty_folder_is_taken(run, folder):
    folder.mkdir()
    run()
    assert Lesson.load(folder).is_taught


def test_overwriting_replaces_our_files_alone(run, folder, real_images):
    run(images=real_images, eval_strategy="epoch", save_strategy="epoch")
    before = weights(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "more").mkdir()
    (folder / "more" / "photo.png").write_text("mine")
    record = run(temperature=5.0, overwrite_output_dir=True)
    assert record.settings["temperature"] == 5.0 and not equal(weights(folder), before)
    assert (folder / "notes.txt").read_text() == (folder / "more" / "photo.png").read_text() == "mine"
    assert not (folder / "learning_curves.png").exists() and not list(folder.glob("checkpoint-*"))


# The report


def test_a_report_lies_beside_the_student_and_is_renewed_with_its_record(run, real_images, folder):
    record = run(images=real_images)
    report = folder / "report.html"
    assert "Gaussian noise has" not in report.read_text() and "report.html" not in record.files
    run(images=real_images, controls=["gaussian"])
    assert "Gaussian noise has" in report.read_text()
    report.unlink()
    run(images=real_images, controls=["gaussian"], report=False)
    assert not report.exists()
    run(images=real_images, controls=["gaussian"])
    assert report.exists(), "a finished student gets the report that it lacks"
