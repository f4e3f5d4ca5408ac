"""The table of students, and what a reader of their figures is told."""

import logging

import pytest

from smi_hf.distillation.judging import doubts, judge
from smi_hf.distillation.lessons import Taught
from smi_hf.evaluation.record import HeldOut
from smi_hf.evaluation.table import Row, Scores


@pytest.mark.parametrize(
    ("agreement", "num_images", "expected"),
    [
        (0.9, 100, []),
        (0.2, 100, ["agreement of 20.0 % on 100 images is no better than guessing among 5 labels"]),
        (0.29, 100, []),
        (0.9, 29, ["judged on 29 images, which says little"]),
        (0.0, 3, ["no better than guessing", "judged on 3 images"]),
    ],
)
def test_agreement_is_doubted_where_it_is_that_of_guessing_or_of_few_images(agreement, num_images, expected, record):
    from dataclasses import replace

    found = doubts(replace(record, held_out=HeldOut(num_images, agreement)), num_labels=5)
    assert len(found) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, found))


def test_accuracy_is_doubted_by_the_students_own_first_run(record, real_images):
    def judged(*top1):
        runs = tuple(Scores(top1=each, top5=1.0, agreement=0.5) for each in top1)
        teacher = Row("teacher", "teacher", (Scores(1.0, 1.0, 1.0),))
        return record.judged([teacher, Row("sparse", "inverted", runs)], real_images)

    assert any("guessing" in sentence for sentence in doubts(judged(0.2, 0.9), 5))
    assert not any("guessing" in sentence for sentence in doubts(judged(0.9, 0.2), 5))


def test_an_unjudged_student_is_not_doubted(record):
    assert doubts(record, 5) == []


@pytest.mark.parametrize("num_images", [20, 60])
def test_a_student_that_guesses_or_is_judged_on_few_images_is_doubted(
    num_images, run, real_images, caplog, monkeypatch
):
    if num_images > len(real_images):
        from datasets import concatenate_datasets

        object.__setattr__(real_images, "dataset", concatenate_datasets([real_images.dataset] * 3))
    with caplog.at_level(logging.WARNING, "smi_hf"):
        run(images=real_images)
    assert "no better than guessing among 5 labels" in caplog.text
    assert ("which says little" in caplog.text) == (num_images < 30)


def test_a_student_that_is_its_teacher_has_its_teachers_row(teacher, real_images, image_processor):
    itself = Taught(teacher.model.model, 6, seconds=1.26)
    untrained = Taught(teacher.model.model, 3)
    students = {"sparse": [itself, untrained], "untrained": [untrained]}
    labels = {"sparse": "inverted", "untrained": "not taught"}
    rows = judge(students, labels, teacher, image_processor, real_images, disable_tqdm=True)
    assert [(row.key, row.label, len(row.runs)) for row in rows] == [
        ("teacher", "teacher", 1),
        ("sparse", "inverted", 2),
        ("untrained", "not taught", 1),
    ]
    assert {run for row in rows for run in row.runs} == {rows[0].runs[0]} and rows[0].runs[0].agreement == 1.0
    # Figures of the first run; what was not taught took no time.
    assert [row.figures for row in rows] == [{}, {"num_images": 6, "seconds": 1.3}, {"num_images": 3}]
