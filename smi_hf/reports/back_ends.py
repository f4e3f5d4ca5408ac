"""Back ends side by side, where `quantize --compare` measured several: speed against what was lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smi_hf.reports.beside import read_beside
from smi_hf.reports.charts import choice, make_chart, values
from smi_hf.reports.parts import Chart, Section, Subject

FILE = "comparison.json"
_MEASURES = {
    "latency_ms_1": "ms for one image",
    "latency_ms_32": "ms for 32 images",
    "size_mb": "MB on disk",
}
_KINDS = ("floating point", "integers")
# Pixels for a bar and what lies around it.
_BAR = 26


@dataclass(frozen=True)
class Figures:
    """As `smi_hf.quantization.backend_comparison.ModelFigures`."""

    backend: str
    is_float: bool
    top1: float | None
    agreement: float
    size_mb: float
    latency_ms_1: float
    latency_ms_32: float


@dataclass(frozen=True)
class Comparison:
    """As `smi_hf.quantization.backend_comparison.BackendComparison`."""

    models: list[Figures]
    num_images: int
    is_real: bool
    recommended: str
    reason: str
    left_out: dict[str, str]


def section(subject: Subject) -> Section | None:
    """The comparison in a model's folder, None if there is none."""
    comparison = read_beside(subject.folder, FILE, Comparison)
    if comparison is None or not comparison.models:
        return None
    judged_on = "labeled" if comparison.is_real else "synthetic"
    return Section(
        title="Back ends",
        template="back_ends.html.jinja",
        values={
            "reason": comparison.reason,
            "judged_on": f"{comparison.num_images} {judged_on} images",
            "left_out": sorted(comparison.left_out.items()),
            "charts": [_chart(comparison)],
            "cells": _cells(comparison),
        },
    )


def _chart(comparison: Comparison) -> Chart:
    import altair

    points = [point for number, model in enumerate(comparison.models) for point in _points(model, number)]
    measure = choice("measure", "Show", _MEASURES)
    base = (
        altair.Chart(values(points))
        .transform_filter("datum.measure == measure")
        .encode(
            y=altair.Y(
                "name:N",
                sort=altair.EncodingSortField("order", op="min"),
                title=None,
                axis=altair.Axis(labelLimit=220),
            ),
            x=altair.X("value:Q", title="as chosen above: less is better"),
        )
    )
    bars = base.mark_bar().encode(
        color=altair.Color(
            "kind:N", scale=altair.Scale(domain=list(_KINDS)), legend=altair.Legend(orient="top", title=None)
        ),
        tooltip=[
            altair.Tooltip("name:N", title="model"),
            altair.Tooltip("value:Q", title="value", format=".4g"),
        ],
    )
    texts = base.mark_text(align="left", dx=4).encode(text=altair.Text("value:Q", format=".3g"))
    chart = (bars + texts).add_params(measure).properties(height=_BAR * len(comparison.models))
    return make_chart(
        chart,
        title=f"{comparison.recommended} is recommended on this machine",
        description="Bars of time or size, one for each back end in floating point and in integers.",
        numbers=[
            ["model", "measure", "value"],
            *([point["name"], _MEASURES[point["measure"]], f"{point['value']:.4g}"] for point in points),
        ],
    )


def _points(model: Figures, order: int) -> list[Mapping[str, Any]]:
    kind = _kind(model)
    shared = {"name": f"{model.backend}, {kind}", "kind": kind, "order": order}
    return [{"measure": key, "value": getattr(model, key), **shared} for key in _MEASURES]


def _cells(comparison: Comparison) -> list[Sequence[str]]:
    has_top1 = any(model.top1 is not None for model in comparison.models)
    headings = ["back end", *(["top-1 %"] if has_top1 else []), "agreement %", *_MEASURES.values()]
    rows = [
        [
            f"{model.backend}, {_kind(model)}",
            *([_percent(model.top1)] if has_top1 else []),
            _percent(model.agreement),
            *(f"{getattr(model, key):.3g}" for key in _MEASURES),
        ]
        for model in comparison.models
    ]
    return [headings, *rows]


def _kind(model: Figures) -> str:
    return _KINDS[0 if model.is_float else 1]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
