"""What each layer of a quantized model costs when it is quantized alone."""

import re
from dataclasses import dataclass
from typing import Any

from smi_hf.reports.beside import read_beside
from smi_hf.reports.charts import choice, make_chart, values
from smi_hf.reports.parts import Chart, Section, Subject

FILE = "sensitivity.json"
# Pixels for a bar and what lies around it.
_BAR = 18
# The end of a name tells layers apart.
_SHORT = "length(datum.label) > 30 ? '…' + slice(datum.label, -29) : datum.label"


@dataclass(frozen=True)
class LayerCost:
    """As `smi_hf.quantization.costs.Cost`, as far as it is shown."""

    name: str
    agreement: float
    divergence: float


@dataclass(frozen=True)
class Costs:
    """As `smi_hf.quantization.sensitivity.Sensitivity`, as far as it is shown."""

    layers: list[LayerCost]
    operators: list[LayerCost]
    exclude: list[str]
    num_images: int


def section(subject: Subject) -> Section | None:
    """The sensitivity report in a model's folder, None if there is none."""
    costs = read_beside(subject.folder, FILE, Costs)
    if costs is None or not costs.layers:
        return None
    return Section(
        title="Sensitivity",
        template="sensitivity.html.jinja",
        values={"charts": [cost_chart(costs)], "exclude": costs.exclude, "num_images": costs.num_images},
    )


def cost_chart(costs: Costs) -> Chart:
    """Bars of divergence, to be sorted."""
    import altair

    excluded = set(costs.exclude)
    points = [
        {
            "name": cost.name,
            "divergence": cost.divergence,
            "changed": 100 * (1 - cost.agreement),
            "what": "proposed for exclusion" if cost.name in excluded else "stays quantized",
            "place": place,
        }
        for place, cost in enumerate(sorted(costs.layers, key=lambda cost: natural(cost.name)))
    ]
    order = choice(
        "order",
        "Sort by",
        {"divergence": "divergence", "changed": "changed answers", "place": "place in the model"},
    )
    chart = (
        altair.Chart(values(points))
        .transform_calculate(rank="order == 'place' ? datum.place : -datum[order]")
        .mark_bar()
        .encode(
            x=altair.X("divergence:Q", title="divergence from floating point, nats"),
            y=altair.Y(
                "name:N",
                sort=altair.EncodingSortField("rank", op="min"),
                title=None,
                axis=altair.Axis(labelLimit=240, labelOverlap=False, labelExpr=_SHORT),
            ),
            color=altair.Color(
                "what:N",
                scale=altair.Scale(domain=["stays quantized", "proposed for exclusion"]),
                legend=altair.Legend(orient="top", title=None),
            ),
            tooltip=[
                altair.Tooltip("name:N", title="layer"),
                altair.Tooltip("divergence:Q", title="nats", format=".4g"),
                altair.Tooltip("changed:Q", title="changed answers, percent", format=".1f"),
            ],
        )
        .add_params(order)
        .properties(height=_BAR * len(points))
    )
    worst = max(costs.layers, key=lambda cost: cost.divergence)
    total = sum(cost.divergence for cost in costs.layers)
    share = f", {100 * worst.divergence / total:.0f} % of the sum over all layers" if total > 0 else ""
    return make_chart(
        chart,
        title=f"{worst.name} costs most: {worst.divergence:.3g} nats{share}",
        description="Bars of the divergence that quantizing each layer alone causes.",
        numbers=[
            ["layer", "divergence, nats", "changed answers %"],
            *([point["name"], f"{point['divergence']:.4g}", f"{point['changed']:.1f}"] for point in points),
        ],
    )


def natural(name: str) -> list[Any]:
    """A key to sort names by in which layer 10 comes after layer 9."""
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
