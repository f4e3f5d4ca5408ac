"""What sets of images are worth: on the embedded teacher, whose photographs are generated digits."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from smi_hf.environment import missing_packages
from smi_hf.errors import UsageError

if missing_packages("demo"):
    pytest.skip("the demo extra is absent", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def parts(monkeypatch):
    """Imports a module of the benchmark as the script itself does."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "benchmarks"))
    return importlib.import_module


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    from smi_hf.demo.digits import digits_dataset

    path = tmp_path_factory.mktemp("digits") / "test.parquet"
    digits_dataset("test", 300).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def embedded():
    from smi_hf.demo import TEACHER_PATH
    from smi_hf.models import load_teacher

    return load_teacher(str(TEACHER_PATH))


@pytest.fixture(scope="module")
def inverted(embedded, tmp_path_factory) -> Path:
    """A sparse dataset of the embedded teacher: 8 images, hardly moved from noise."""
    from smi_hf import SparseInversionConfig, invert

    folder = tmp_path_factory.mktemp("inverted") / "set"
    config = SparseInversionConfig(
        output_dir=str(folder), num_images=8, num_steps=3, prune_steps=[1], prune_ratios=[0.5], disable_tqdm=True
    )
    invert(embedded, config)
    return folder


@pytest.fixture
def run(parts, digits, tmp_path):
    """Runs the script with 4 images of a set; returns what it wrote."""
    from smi_hf.demo import TEACHER_PATH

    def call(*more: object) -> dict:
        given = ["--model_name_or_path", TEACHER_PATH, "--judge", digits, "--judge_images", 60, "--num_images", 4]
        given += ["--tasks", "halving", "--seeds", 0, 1, "--output", tmp_path / "worth.json", "--disable_tqdm", *more]
        parts("worth").run(list(map(str, given)))
        return json.loads((tmp_path / "worth.json").read_text())

    return call


def lines_of(report: dict) -> dict[tuple[str, str], dict]:
    return {(line["task"], line["images"]): line for line in report["lines"]}


def accuracies(report: dict) -> dict[tuple[str, str], list[float]]:
    return {name: line["top1"] for name, line in lines_of(report).items()}


def test_every_set_is_measured_at_equal_tokens_and_noise_is_0_and_photographs_1(run, inverted, tmp_path, capsys):
    report = run("--sets", f"smi={inverted}", "again=gaussian", "--tasks", "halving", "w3_error_feedback")
    lines = lines_of(report)
    sets = {"gaussian", "photographs", "photographs, whole", "smi", "again"}
    assert set(lines) == {(task, name) for task in ("halving", "w3_error_feedback") for name in sets}
    assert {line["num_patches"] for name, line in lines.items() if name[1] != "photographs, whole"} == {32}
    assert lines["halving", "photographs, whole"]["num_patches"] == 64
    # The dataset has twice the images of a run.
    assert all(len(line["top1"]) == 2 for line in lines.values())
    for task in ("halving", "w3_error_feedback"):
        noise, photographs = lines[task, "gaussian"], lines[task, "photographs"]
        if np.mean(photographs["top1"]) > np.mean(noise["top1"]):
            assert noise["worth"] == pytest.approx(0, abs=1e-9)
            assert photographs["worth"] == pytest.approx(1)
        else:
            assert noise["worth"] is photographs["worth"] is None
        assert lines[task, "again"]["top1"] == noise["top1"], "the same noise from the same seeds"
    assert lines["halving", "smi"]["synthesis_seconds"] > 0
    assert lines["halving", "photographs"]["synthesis_seconds"] is None
    assert report["about"]["float_top1"] > 0.9
    assert str(tmp_path) not in json.dumps(report)
    assert "16 of 20 models were made" in capsys.readouterr().out


def test_a_second_run_runs_nothing_again_but_what_is_new(run, parts, monkeypatch, capsys, tmp_path):
    first = run()
    assert "4 of 4 models were made" in capsys.readouterr().out
    tasks, made = parts("worth_parts.tasks"), []
    halve = tasks.prune_mlps
    monkeypatch.setattr(
        tasks, "prune_mlps", lambda model, images, **more: (made.append(1), halve(model, images, **more))[1]
    )
    assert accuracies(run()) == accuracies(first)
    assert not made
    assert "0 of " in capsys.readouterr().out
    # A third seed, and so one more run of each of the two sets.
    longer = accuracies(run("--seeds", 0, 1, 2))
    assert {name: runs[:2] for name, runs in longer.items()} == accuracies(first)
    assert len(made) == 2
    # Two sets of the same images are one model.
    run("--sets", "again=gaussian")
    assert len(made) == 2
    # Other images are not taken for those before: fewer patches, now with whole photographs (known) beside them.
    run("--num_patches", 16)
    assert len(made) == 2 + 4


def test_a_changed_teacher_or_judge_is_not_taken_for_the_old_one(run, parts, embedded, monkeypatch):
    cells = run()["cells"]
    teacher = cells[-1]["teacher_sha256"]
    changed = run("--judge_images", 50)["cells"]
    assert changed[: len(cells)] == cells
    assert len(changed) == 2 * len(cells)
    assert {cell["judge_sha256"] for cell in changed[len(cells) :]} != {cells[0]["judge_sha256"]}
    assert {cell["teacher_sha256"] for cell in cells} == {teacher} == {embedded.weights_sha256()}
    monkeypatch.setattr(type(embedded), "weights_sha256", lambda self: "0" * 64)
    assert len(run()["cells"]) == 3 * len(cells)


def test_no_photograph_that_judges_is_drawn(parts, embedded, digits):
    sets = parts("worth_parts.sets")
    judge = sets.Judge(str(digits), embedded, 280)
    row = sets.Sets(embedded, judge, 20, [0, 1]).rows([], str(digits), None)[1]
    assert row.name == "photographs"
    from smi_hf import load_image_set
    from smi_hf.models.preprocessing import preprocess

    images = load_image_set(str(digits), embedded.label_names)
    (last,), _ = zip(*images.select(range(280, 300)).batches(20))
    expected = {array.tobytes() for array in preprocess(last, embedded.image_processor)}
    for drawn in row.runs:
        assert {array.tobytes() for array in drawn.pixels_BCHW.numpy()} == expected
    with pytest.raises(UsageError, match="has 20 photographs that are not among those of the judge"):
        sets.Sets(embedded, judge, 21, [0]).rows([], str(digits), None)


def test_a_wrong_order_of_sets_fails(parts, embedded, digits):
    """Where half of every MLP goes, photographs are worth more than noise: 97.5 against 94.5 % of 200 digits."""
    sets, tasks = parts("worth_parts.sets"), parts("worth_parts.tasks")
    judge = sets.Judge(str(digits), embedded, 200)
    noise, photographs = sets.Sets(embedded, judge, 32, [0, 1]).rows([], str(digits), None)
    with tasks.TASKS["halving"].open(embedded, judge.images) as make:
        top1 = [[judge.top1(make(images, 0)) for images in row.runs] for row in (noise, photographs)]
    assert min(top1[1]) > max(top1[0])
    assert sum(top1[1]) / 2 > sum(top1[0]) / 2 + 0.02


def test_cutting_keeps_patches_that_were_kept_and_differs_from_image_to_image(parts, kept_images):
    sets = parts("worth_parts.sets")
    num_kept = kept_images.kept_BK.shape[1] - 2
    cut, again = (sets.cut_to(kept_images, num_kept, seed=0) for _ in range(2))
    assert cut.kept_BK.shape == (len(kept_images), num_kept)
    assert sets.images_sha256(cut) == sets.images_sha256(again) != sets.images_sha256(kept_images)
    for before, after in zip(kept_images.kept_BK.tolist(), cut.kept_BK.tolist()):
        assert set(after) < set(before)
        assert after == sorted(after)
    other = sets.cut_to(kept_images.part(3, 6), num_kept, seed=1)
    assert sets.images_sha256(other) != sets.images_sha256(cut.part(3, 6))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smi=out/x", ("smi", "out/x")),
        ("gaussian", ("gaussian", "gaussian")),
        ("gaussian=out/x", ("gaussian", "out/x")),
        ("real=a:test", ("real", "real=a:test")),
        ("mine=real=a:test", ("mine", "real=a:test")),
    ],
)
def test_a_set_is_a_name_and_a_source_or_a_control(text, expected, parts):
    assert parts("worth_parts.sets").parse_set(text) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--sets", "smi"], "must be written NAME=SPEC"),
        (["--sets", "=x"], "must be written NAME=SPEC"),
        (["--sets", "gaussian"], "is measured always"),
        (["--sets", "a=filled"], "changes other sets"),
        (["--sets", "a=no/such/folder"], "no/such/folder"),
        (["--tasks", "halvin"], r"no task 'halvin' \(did you mean 'halving'\?\)"),
        (["--num_patches", "65"], "num_patches is 65, but images here have 64"),
        (["--num_images", "0"], "num_images must be at least 1"),
        (["--judge_images", "301"], "judge_images is 301, but dataset .* has 300"),
        (["--seeds", "1", "1"], "must be different numbers"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(given, message, run):
    with pytest.raises(UsageError, match=message):
        run(*given)


def test_a_file_of_somebody_else_is_not_written_over(run, tmp_path):
    (tmp_path / "worth.json").write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="is not a record of a measurement of worth"):
        run()
    assert (tmp_path / "worth.json").read_text() == '{"mine": 1}'


def test_a_task_that_lacks_its_extra_is_skipped_with_the_reason(run, parts, monkeypatch, capsys):
    tasks = parts("worth_parts.tasks")
    monkeypatch.setattr(tasks, "missing_packages", lambda extra: ["onnxruntime"])
    report = run("--tasks", "w8a8_outputs_onnx", "halving", "--seeds", 0)
    assert {line["task"] for line in report["lines"]} == {"halving"}
    assert "task w8a8_outputs_onnx is skipped: onnxruntime is not installed" in capsys.readouterr().err
    with pytest.raises(UsageError, match="every task was skipped"):
        run("--tasks", "w8a8_fixed_onnx")


@pytest.mark.parametrize("name", ["w8a8_outputs_onnx", "w8a8_fixed_onnx", "w4a8_simulated", "transfer"])
def test_a_task_makes_a_model_that_sees_digits(name, parts, embedded, digits, own_precision):
    sets, task = parts("worth_parts.sets"), parts("worth_parts.tasks").TASKS[name]
    if task.lack:
        pytest.skip(task.lack)
    judge = sets.Judge(str(digits), embedded, 60)
    images = sets.Sets(embedded, judge, 8, [0]).rows([], str(digits), 40)[1].runs[0]
    with task.open(embedded, judge.images) as make:
        model = make(images, 0)
        assert judge.top1(model) > 0.7
        # What is made is not the teacher itself.
        pixels = images.pixels_BCHW.numpy()
        from smi_hf.evaluation.predictors import pytorch_predictor

        in_float = pytorch_predictor(embedded.model, embedded.image_processor)
        assert not np.allclose(model(pixels), in_float(pixels), atol=1e-4)


def test_a_plot_is_drawn(run, tmp_path):
    if missing_packages("plots"):
        pytest.skip("the plots extra is absent")
    run("--seeds", 0, "--plot", tmp_path / "worth.png")
    assert (tmp_path / "worth.png").read_bytes().startswith(b"\x89PNG")
