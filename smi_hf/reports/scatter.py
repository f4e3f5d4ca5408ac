"""Several models side by side: size against accuracy against latency."""

from collections.abc import Mapping, Sequence
from typing import Any

from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.table import Row
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
    points = [point for name, row, role in models for point in _points(name, row, role)]
    if not points:
        return None
    sets = {each.record.measured for each in judged}
    return Section(
        title="Size against accuracy against latency",
        template="scatter.html.jinja",
        values={"charts": [_chart(points)], "is_judged_alike": len(sets) == 1},
    )


def _points(name: str, row: Row, role: str) -> list[Mapping[str, Any]]:
    known = {key: row.value(key) for key in _MEASURES if row.value(key) is not None}
    shared = {"name": name, "role": role, "top1": 100 * row.value("top1"), "latency": known.get(_LATENCY)}
    return [{"measure": key, "value": value, **shared} for key, value in known.items()]


def _chart(points: Sequence[Mapping[str, Any]]) -> Any:
    import altair

    counts = {key: sum(point["measure"] == key for point in points) for key in _MEASURES}
    shown = sorted((key for key in _MEASURES if counts[key]), key=lambda key: -counts[key])
    measure = choice("measure", "Across", {key: _MEASURES[key] for key in shown})
    base = (
        altair.Chart(values(points))
        .transform_filter("datum.measure == measure")
        .encode(
            x=altair.X("value:Q", title="as chosen above: size or time", scale=altair.Scale(zero=True, nice=True)),
            y=altair.Y("top1:Q", title="top-1, percent", scale=altair.Scale(zero=False, padding=16)),
        )
    )
    tips = [
        altair.Tooltip("name:N", title="model"),
        altair.Tooltip("top1:Q", title="top-1 %", format=".1f"),
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
        description="A point for each model and its reference: size across, top-1 accuracy up, latency as the area.",
        numbers=[
            ["model", "top-1 %", "measure", "value"],
            *(
                [point["name"], f"{point['top1']:.1f}", _MEASURES[point["measure"]], f"{point['value']:.4g}"]
                for point in points
            ),
        ],
    )
