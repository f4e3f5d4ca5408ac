"""The result table of a model: its accuracy beside that of its reference and controls, and all other figures."""

from collections.abc import Mapping
from typing import Any

from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.table import Row, has_top5, table_cells
from smi_hf.evaluation.verdict import controls_words, quality_words, sentences
from smi_hf.reports.charts import choice, make_chart, values
from smi_hf.reports.parts import Chart, Section, Subject

_SCORES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "agreement": "agreement with the reference",
    "neighbors": "same nearest neighbor as by the reference",
}
_OWN_ROW = 1
# Percent, with room for a figure behind a full bar.
_WIDEST = 118
# Pixels for a bar and what lies around it.
_BAR = 34
_ROLES = ("reference", "this model", "control")
# In the order of the page's colors.
_COLORED = ["this model", "control", "reference"]


def section(subject: Subject) -> Section | None:
    """The table of a model that was judged on real images, None of anything else."""
    record = subject.record
    if not isinstance(record, ModelRecord) or not record.rows:
        return None
    what = "calibrated on" if record.student is None else "taught on"
    return Section(
        title="Result",
        template="table.html.jinja",
        values={
            "cells": table_cells(record.rows, what, num_labels=record.num_labels),
            "own_row": _OWN_ROW,
            "costs": costs(record),
            "measured": record.measured,
            "device": record.environment.device,
            "charts": [score_chart(record)],
        },
    )


def findings(record: ModelRecord) -> list[str]:
    """What a table says of accuracy, a sentence each: the model against its reference, and against its controls."""
    return sentences(quality_words(record), controls_words(record))


def costs(record: ModelRecord) -> list[str]:
    """What a table says of size and speed, a sentence each."""
    reference, own = record.rows[:2]
    said = []
    for key, words in (("size_mb", "size"), ("parameters", "parameters"), ("latency_ms_1", "time for one image")):
        before, after = reference.value(key), own.value(key)
        if before and after:
            said.append(f"Its {words}: {after / before:.2f} of the reference's.")
    return said


def score_chart(record: ModelRecord) -> Chart:
    """Scores as bars: the interval of a single run, the spread of several."""
    import altair

    scores = {
        key: words
        for key, words in _SCORES.items()
        if record.rows[0].value(key) is not None and (key != "top5" or has_top5(record.num_labels))
    }
    points = [
        _point(row, number, key, record.measured.num_images)
        for key in scores
        for number, row in enumerate(record.rows)
    ]
    chosen = choice("score", "Show", scores)
    base = (
        altair.Chart(values(points))
        .transform_filter("datum.score == score")
        .encode(
            y=altair.Y(
                "row:N", sort=altair.EncodingSortField("order", op="min"), title=None, axis=altair.Axis(labelLimit=180)
            )
        )
    )
    colors = altair.Color(
        "role:N", scale=altair.Scale(domain=_COLORED), legend=altair.Legend(orient="top", title=None)
    )
    x = altair.X(
        "value:Q",
        scale=altair.Scale(domain=[0, _WIDEST]),
        axis=altair.Axis(values=list(range(0, 101, 20))),
        title="percent of the images",
    )
    tips = [altair.Tooltip(name, title=title) for name, title in (("label:N", "row"), ("words:N", "percent"))]
    bars = base.mark_bar().encode(x=x, color=colors, tooltip=tips)
    ranges = base.mark_rule(strokeWidth=2).encode(x=altair.X("low:Q"), x2="high:Q")
    texts = base.mark_text(align="left", dx=4).encode(x="end:Q", text="short:N")
    chart = (bars + ranges + texts).add_params(chosen).properties(height=_BAR * len(record.rows))
    several = any(len(row.runs) > 1 for row in record.rows)
    lines = "standard deviation over runs where there are several, else " if several else ""
    return make_chart(
        chart,
        title="Accuracy beside the reference and the controls",
        description=f"Bars of accuracy, one a row of the table. Lines: {lines}95 % interval.",
        numbers=[
            ["row", "score", "percent"],
            *([point["label"], scores[point["score"]], point["words"]] for point in points),
        ],
    )


def _point(row: Row, number: int, key: str, num_images: int) -> Mapping[str, Any]:
    low, high = (100 * bound for bound in _interval(row, key, num_images))
    value, spread = 100 * row.value(key), row.spread(key)
    around = f"± {100 * spread:.1f} over {len(row.runs)} runs" if spread is not None else f"({low:.1f} to {high:.1f})"
    return {
        "score": key,
        # Two rows may have one label.
        "row": f"{row.label}{chr(0x200B) * number}",
        "label": row.label,
        "order": number,
        "role": _ROLES[min(number, 2)],
        "value": value,
        "low": low,
        "high": high,
        "end": max(high, value),
        "short": f"{value:.1f}",
        "words": f"{value:.1f} {around}",
    }


def _interval(row: Row, key: str, num_images: int) -> tuple[float, float]:
    """Around the mean of a score: its spread over runs, or of a single run Wilson's 95 % interval."""
    value, spread = row.value(key), row.spread(key)
    if spread is None:
        return wilson_interval(value, num_images)
    return max(0.0, value - spread), min(1.0, value + spread)
