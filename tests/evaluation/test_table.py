"""The one result table."""

import math

import pytest

from smi_hf.evaluation.table import COLUMNS, Row, Scores, shown_columns, table_cells

RUNS = tuple(Scores(top1, 0.9, 0.5) for top1 in (0.7, 0.8, 0.9))


def test_mean_and_spread_are_those_of_the_runs():
    one, three = Row("one", "One", RUNS[:1]), Row("three", "Three", RUNS, {"size_mb": 1.0})
    assert math.isclose(three.value("top1"), 0.8)
    assert math.isclose(three.spread("top1"), 0.1)
    assert one.spread("top1") is None
    assert three.value("size_mb") == 1.0
    assert three.spread("size_mb") is None
    assert one.value("size_mb") is None


def test_cells_are_rounded_scaled_and_bear_the_spread():
    top1 = next(column for column in COLUMNS if column.key == "top1")
    size = next(column for column in COLUMNS if column.key == "size_mb")
    row = Row("three", "Three", RUNS, {"size_mb": 1.25})
    assert top1.cell(row) == "80.0 ± 10.0"
    assert size.cell(row) == pytest.approx("1.2") or size.cell(row) == "1.3"
    assert size.cell(Row("one", "One", RUNS[:1])) == ""


def test_only_columns_that_any_row_fills_are_shown():
    rows = [Row("a", "A", RUNS[:1]), Row("b", "B", RUNS[:1], {"latency_ms_1": 2.0})]
    assert [column.key for column in shown_columns(rows)] == ["top1", "top5", "agreement", "latency_ms_1"]


def test_the_reference_stands_in_brackets_and_every_line_has_a_cell_for_every_heading():
    lines = table_cells([Row("a", "A", RUNS[:1]), Row("b", "B", RUNS, {"size_mb": 2.0})], "calibrated on")
    assert lines[0][:2] == ["calibrated on", "runs"]
    assert [line[0] for line in lines[1:]] == ["(A)", "B"]
    assert [line[1] for line in lines[1:]] == ["1", "3"]
    assert {len(line) for line in lines} == {len(lines[0])}
