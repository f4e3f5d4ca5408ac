from dataclasses import replace

import pytest

from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.table import Row, Scores
from smi_hf.reports.table import costs, findings, score_chart, section


def rows_of(chart, score):
    (points,) = chart.spec["datasets"].values()
    return [point for point in points if point["score"] == score]


def test_bars_have_the_interval_of_one_run_and_the_spread_of_several(quantized_record):
    points = rows_of(score_chart(quantized_record), "top1")
    assert [point["label"] for point in points] == [row.label for row in quantized_record.rows]
    assert [point["role"] for point in points] == ["reference", "this model", "control", "control"]
    low, high = wilson_interval(0.8, 100)
    assert (points[1]["low"], points[1]["high"]) == pytest.approx((100 * low, 100 * high))
    spread = quantized_record.rows[2].spread("top1")
    assert (points[2]["low"], points[2]["high"]) == pytest.approx((30 - 100 * spread, 30 + 100 * spread))


def test_two_rows_of_one_label_are_two_bars(quantized_record):
    twin = replace(quantized_record.rows[3], key="real=b")
    points = rows_of(score_chart(replace(quantized_record, rows=(*quantized_record.rows, twin))), "top1")
    assert len({point["row"] for point in points}) == 5


def test_top5_of_few_labels_is_not_shown(quantized_record):
    assert rows_of(score_chart(quantized_record), "top5") == []
    assert rows_of(score_chart(replace(quantized_record, num_labels=1000)), "top5")


def test_findings_say_whether_controls_do_as_well(quantized_record):
    said = " ".join(findings(quantized_record))
    assert "80.0 % (95 % interval 71.1 to 86.7 %) of 100 images; float32 has 90.0 %" in said
    assert "Gaussian noise has 30.0 %: the images are worth 50.0 points" in said
    assert costs(quantized_record)[0] == "Its size: 0.25 of the reference's."
    equal = Row("gaussian", "Gaussian noise", (Scores(0.79, 1.0, 0.9),))
    said = " ".join(findings(replace(quantized_record, rows=(*quantized_record.rows[:2], equal))))
    assert "as good as far as 100 images can tell: images were not needed here" in said


def test_a_dataset_and_an_unjudged_model_have_no_table(images_subject, quantized_record):
    assert section(images_subject) is None
    assert section(replace(images_subject, record=replace(quantized_record, rows=(), measured=None))) is None
