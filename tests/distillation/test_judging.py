"""What a reader of a student's figures is told."""

import pytest

from smi_hf.distillation.judging import doubts
from smi_hf.distillation.records import distillation_record
from smi_hf.evaluation.record import DatasetReference, HeldOut
from smi_hf.evaluation.table import Row, Scores


@pytest.fixture
def record(make_trainer, dataset, teacher):
    """The record of a student of a trainer alone."""
    return distillation_record(make_trainer(), [DatasetReference.of(dataset, teacher)])


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


def test_a_student_that_load_student_did_not_return_has_no_origin_in_its_record(record):
    # Its configuration has a name nonetheless, which must not be taken for it.
    assert (record.student.name, record.student.revision, record.student.license) == (None, None, None)
    assert record.student.from_scratch is False
