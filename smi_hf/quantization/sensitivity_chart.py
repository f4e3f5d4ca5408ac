"""The chart of a sensitivity report: the worst layers by name, the rest as one, and what all of them cost together."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smi_hf.evaluation.charts import SERIES, new_figure, plain, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from smi_hf.quantization.sensitivity import Sensitivity

_MAX_LAYERS = 20
_MAX_LETTERS = 52
# Where the largest is this many times the smallest, bars of one scale would leave the small ones blank.
_LOGARITHMIC_FROM = 20
_LARGEST_RANGE = 1e6
_STAYS, _QUANTIZED = SERIES[1].color, SERIES[0].color
_HATCH = "///"
_Bar = tuple[str, float, bool]


def save_chart(report: "Sensitivity", path: Path) -> None:
    """Writes the chart as PNG."""
    operators = sorted(((cost.name, cost.divergence, False) for cost in report.operators), key=lambda bar: -bar[1])
    layers = _layer_bars(report)
    heights = [len(operators) + 1.5, len(layers) + 1.5]
    figure = new_figure(9, 1.9 + 0.25 * sum(heights), finding(report))
    panels = figure.subplots(2, 1, height_ratios=heights, sharex=True)
    scale = _set_scale(panels[0], layers, operators)
    titles = ("operator types, each quantized alone", "layers, each quantized alone, the most costly first")
    for axes, bars, title in zip(panels, (operators, layers), titles):
        _draw(axes, bars)
        axes.set_title(title, loc="left", fontsize=10)
    panels[1].set_xlabel(
        f"divergence of the answers from float32's, nats{scale}\nmean over {report.num_images} images; less is better"
    )
    if report.exclude:
        _add_legend(figure, report)
    save_figure(figure, path)


def finding(report: "Sensitivity") -> str:
    """Which layer costs most, in a sentence."""
    worst = max(report.layers, key=lambda cost: cost.divergence)
    if worst.divergence == 0:
        return "No layer costs anything that can be measured"
    together = f"all {report.everything.num_layers} layers together cost {in_nats(report.everything.divergence)}"
    return f"{_short(worst.name)} costs most: {in_nats(worst.divergence)} nats; {together}"


def in_nats(divergence: float) -> str:
    """A divergence in two digits that count, five behind the point at most."""
    if 0 < divergence < 1e-5:
        return "< 0.00001"
    return np.format_float_positional(divergence, precision=2, fractional=False, unique=False, trim="-")


def _set_scale(axes: "Axes", layers: Sequence[_Bar], operators: Sequence[_Bar]) -> str:
    """Limits within which small layers are seen, too; returns what a reader must be told of the scale."""
    largest = max(divergence for _, divergence, _ in (*layers, *operators)) or 1.0
    smallest = min((divergence for _, divergence, _ in layers if divergence > 0), default=largest)
    if largest <= _LOGARITHMIC_FROM * smallest:
        axes.set_xlim(0, largest * 1.15)
        return ""
    low = max(smallest / 2, largest / _LARGEST_RANGE)
    axes.set_xscale("log")
    # Room for the number at the longest bar, on a scale of factors.
    axes.set_xlim(low, largest * (largest / low) ** 0.12)
    return " (logarithmic scale)"


def _layer_bars(report: "Sensitivity") -> list[_Bar]:
    """Name, divergence, and whether it is proposed to stay in floating point; the layers behind the worst as one."""
    costs = sorted(report.layers, key=lambda cost: -cost.divergence)
    # One that is left over is shown itself.
    num_shown = len(costs) if len(costs) <= _MAX_LAYERS + 1 else _MAX_LAYERS
    shown, rest = costs[:num_shown], costs[num_shown:]
    bars = [(cost.name, cost.divergence, cost.name in report.exclude) for cost in shown]
    if rest:
        bars.append((f"the other {len(rest)}, summed", sum(cost.divergence for cost in rest), False))
    return bars


def _draw(axes: "Axes", bars: Sequence[_Bar]) -> None:
    left = axes.get_xlim()[0]
    for row, (_, divergence, stays) in enumerate(bars):
        axes.barh(
            row, max(divergence - left, 0), left=left, height=0.7,
            color=_STAYS if stays else _QUANTIZED, hatch=_HATCH if stays else None, edgecolor="white", linewidth=0,
        )  # fmt: skip
        axes.annotate(
            in_nats(divergence), (max(divergence, left), row), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(range(len(bars)), [plain(_short(name)) for name, _, _ in bars], fontsize=9)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _add_legend(figure: "Figure", report: "Sensitivity") -> None:
    from matplotlib.patches import Patch

    without = in_nats(report.without_excluded.divergence)
    stays = f"proposed to stay in floating point ({len(report.exclude)}); the rest without them costs {without} nats"
    figure.legend(
        handles=[
            Patch(facecolor=_STAYS, hatch=_HATCH, edgecolor="white", linewidth=0, label=stays),
            Patch(facecolor=_QUANTIZED, label="quantized"),
        ],
        loc="outside lower left", fontsize=9, ncols=2, frameon=False,
    )  # fmt: skip


def _short(name: str) -> str:
    """The end of a long name, which tells layers apart."""
    return name if len(name) <= _MAX_LETTERS else f"…{name[-_MAX_LETTERS + 1 :]}"
