"""Several models side by side: size against accuracy against latency."""

from collections.abc import Mapping, Sequence
from typing import Any

from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.table import Column, Row, main_column
from smi_hf.reports.charts import choice, make_chart, values
from smi_hf.reports.parts import Section, Subject

_MEASURES = {
    "size_mb": "MB on disk",
    "parameters": "million parameters",
    "macs": "GMACs for one image",
    "latency_ms_1": "ms for one image",
}
_LATENCY = "latency_ms_1"
_FEWEST_MODELS = 2
# Square pixels of a dot.
_SMALLEST = 60


def section(subjects: Sequence[Subject]) -> Section | None:
    """Models and their references as points, None unless at least two folders hold a model that was judged."""
    judged = [each for each in subjects if isinstance(each.record, ModelRecord) and each.record.rows]
    if len(judged) < _FEWEST_MODELS:
        return None
    models = [(each.name, each.record.rows[1], "model") for each in judged]
    models += [(f"{each.record.rows[0].label} of {each.name}", each.record.rows[0], "reference") for each in judged]
    scores = {main_column(each.record.rows).key for each in judged}
    if len(scores) > 1:  # accuracy and neighbors are no one axis
        return None
    main = main_column(judged[0].record.rows)
    points = [point for name, row, role in models for point in _points(name, row, role, main.key)]
    if not points:
        return None
    sets = {each.record.measured for each in judged}
    return Section(
        title="Size against accuracy against latency",
        template="scatter.html.jinja",
        values={"charts": [_chart(points, main)], "is_judged_alike": len(sets) == 1},
    )


def _points(name: str, row: Row, role: str, score: str) -> list[Mapping[str, Any]]:
    known = {key: row.value(key) for key in _MEASURES if row.value(key) is not None}
    shared = {"name": name, "role": role, "score": 100 * row.value(score), "latency": known.get(_LATENCY)}
    return [{"measure": key, "value": value, **shared} for key, value in known.items()]


def _chart(points: Sequence[Mapping[str, Any]], main: Column) -> Any:
    import altair

    counts = {key: sum(point["measure"] == key for point in points) for key in _MEASURES}
    shown = sorted((key for key in _MEASURES if counts[key]), key=lambda key: -counts[key])
    measure = choice("measure", "Across", {key: _MEASURES[key] for key in shown})
    base = (
        altair.Chart(values(points))
        .transform_filter("datum.measure == measure")
        .encode(
            x=altair.X("value:Q", title="as chosen above: size or time", scale=altair.Scale(zero=True, nice=True)),
            y=altair.Y("score:Q", title=f"{main.words}, percent", scale=altair.Scale(zero=False, padding=16)),
        )
    )
    tips = [
        altair.Tooltip("name:N", title="model"),
        altair.Tooltip("score:Q", title=main.heading, format=".1f"),
        altair.Tooltip("value:Q", title="size or time", format=".4g"),
        altair.Tooltip("latency:Q", title="ms for one image", format=".3g"),
    ]
    legend = altair.Legend(orient="top", title=None)
    area = altair.Size(
        "latency:Q",
        scale=altair.Scale(range=[_SMALLEST, 700], zero=False),
        legend=altair.Legend(orient="top", title="ms for one image", tickCount=3),
    )
    roles = altair.Scale(domain=["model", "reference"])
    dots = base.mark_point(filled=True, opacity=0.8, invalid=None).encode(
        size=altair.condition("isValid(datum.latency)", area, altair.value(_SMALLEST)),
        color=altair.Color("role:N", scale=roles, legend=legend),
        shape=altair.Shape("role:N", scale=roles, legend=legend),
        tooltip=tips,
    )
    names = base.transform_filter("datum.role == 'model'").mark_text(dy=-16).encode(text="name:N")
    chart = (dots + names).add_params(measure).properties(height=340)
    return make_chart(
        chart,
        title="Upper left is better",
        description=f"A point for each model and its reference: size across, {main.words} up, latency as the area.",
        numbers=[
            ["model", main.heading, "measure", "value"],
            *(
                [point["name"], f"{point['score']:.1f}", _MEASURES[point["measure"]], f"{point['value']:.4g}"]
                for point in points
            ),
        ],
    )
