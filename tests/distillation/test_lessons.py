"""The marker of a lesson: whose folder it is, whether its student is whole, and what may be removed."""

import json
from dataclasses import replace

import pytest

from smi_hf import UsageError
from smi_hf.distillation.lessons import Lesson, as_json, check_output_folder, discard
from smi_hf.files import file_sha256

SETTINGS = {"temperature": 2.0, "loss": "kl", "teacher": "tiny"}


@pytest.fixture
def taught(folder):
    """The folder of a finished lesson, with two files of its student."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(f"the {name}")
    files = {path.name: file_sha256(path) for path in folder.iterdir()}
    Lesson(SETTINGS, 1.5, ((1.0, 0.25),), files).save(folder)
    return folder


def test_a_marker_is_read_back_and_says_whether_its_student_is_taught(taught, tmp_path):
    lesson = Lesson.found_in(taught)
    assert (lesson.settings, lesson.seconds, lesson.curve, lesson.is_taught) == (SETTINGS, 1.5, ((1.0, 0.25),), True)
    assert not replace(lesson, files={}).is_taught
    # As markers were before there was early stopping.
    values = json.loads((taught / "lesson.json").read_text())
    del values["steps"]
    (taught / "lesson.json").write_text(json.dumps(values))
    assert Lesson.found_in(taught) == lesson
    assert Lesson.found_in(tmp_path) is None


def test_another_lesson_is_refused_with_what_differs(taught, folder):
    lesson = Lesson.found_in(taught)
    lesson.check_same(dict(SETTINGS), folder)
    with pytest.raises(UsageError, match="holds a student that was taught otherwise: loss was 'kl' and is now 'mse';"):
        lesson.check_same(SETTINGS | {"loss": "mse"}, folder)
    with pytest.raises(UsageError, match="holds a student that is being taught otherwise: loss was"):
        replace(lesson, files={}).check_same(SETTINGS | {"loss": "mse"}, folder)


@pytest.mark.parametrize(("damage", "reason"), [("changed", "was changed since"), ("gone", "is gone")])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_student_is_whole_or_the_file_that_is_not_is_named(taught, name, damage, reason):
    lesson = Lesson.found_in(taught)
    lesson.check_whole(taught)
    (taught / "notes.txt").write_text("mine")
    lesson.check_whole(taught)
    (taught / name).write_text("else") if damage == "changed" else (taught / name).unlink()
    with pytest.raises(UsageError, match=f"{name} {reason}, and lesson.json is the record of the student"):
        lesson.check_whole(taught)


def test_a_folder_is_ours_if_it_is_empty_or_has_a_marker(taught, tmp_path):
    (tmp_path / "empty").mkdir()
    for ours in (taught, tmp_path / "empty", tmp_path / "new" / "one"):
        check_output_folder(ours)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_somebody_else_is_refused_by_what_is_in_it(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (folder / name).write_text("mine")
    with pytest.raises(UsageError, match=r"did not write \(a.txt, b.txt, c.txt, ...; it has no lesson.json\)"):
        check_output_folder(folder)
    # A file of the marker's name does not make it ours.
    (folder / "lesson.json").write_text('{"lesson": 1}')
    with pytest.raises(UsageError, match="is not a record of a student of smi-hf distill"):
        check_output_folder(folder)


def test_only_what_is_listed_is_discarded_and_the_marker_stays(taught, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "thesis.txt").write_text("years of work")
    (taught / "checkpoint-4").mkdir()
    (taught / "checkpoint-4" / "optimizer.pt").write_text("")
    strangers = {"notes.txt", "checkpoint-x", "model-of-mine.safetensors", "checkpoint-8", "checkpoint-9"}
    (taught / "notes.txt").write_text("mine")
    (taught / "checkpoint-x").mkdir()
    (taught / "model-of-mine.safetensors").write_text("mine")
    (taught / "checkpoint-8").symlink_to(tmp_path / "elsewhere")
    (taught / "checkpoint-9").write_text("mine")
    discard(taught)
    assert {path.name for path in taught.iterdir()} == strangers | {"lesson.json"}
    assert (tmp_path / "elsewhere" / "thesis.txt").is_file()


def test_nothing_is_discarded_in_a_folder_without_a_marker(taught):
    (taught / "lesson.json").unlink()
    before = {path.name for path in taught.iterdir()}
    discard(taught)
    assert {path.name for path in taught.iterdir()} == before


def test_settings_are_those_that_will_be_read_back(make_args):
    args = make_args(lr_scheduler_kwargs={"a": (1, 2)})
    settings = as_json({**args.distillation_settings, **args.training_settings, "path": args.output_dir})
    assert json.loads(json.dumps(settings)) == settings
    Lesson(settings).check_same(settings, args.output_dir)
