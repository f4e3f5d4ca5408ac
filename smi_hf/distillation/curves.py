"""The chart of accuracy during training."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from smi_hf.evaluation.charts import SERIES, SOFT, new_figure, plain, save_figure
from smi_hf.evaluation.table import Row

CHART_FILE = "learning_curves.png"

# (epoch, top-1 in [0, 1]) during a training.
Curve = tuple[tuple[float, float], ...]


def save_curves(rows: Sequence[Row], curves: Mapping[str, Curve], folder: Path) -> list[str]:
    """Writes `learning_curves.png` if accuracy was measured during a training; returns the names of what it wrote.

    Args:
        rows: the reference, which is drawn as a line across, first; then the model's own.
        curves: by the key of a row.
    """
    if not any(curves.values()):
        return []
    _plot(rows, curves, folder / CHART_FILE)
    return [CHART_FILE]


def finding(rows: Sequence[Row]) -> str:
    """What each row's images taught, in a sentence: top-1 at the end, as the table has it."""
    reference, own, *others = ((row.label, f"{100 * row.value('top1'):.1f} %") for row in rows)
    rest = "".join(f"; {label}: {top1}" for label, top1 in others)
    return f"Taught on {own[0]}: {own[1]} top-1{rest}; the {reference[0]} has {reference[1]}"


def _plot(rows: Sequence[Row], curves: Mapping[str, Curve], path: Path) -> None:
    figure = new_figure(8, 4.8, finding(rows))
    axes = figure.subplots()
    reference, *students = rows
    axes.axhline(100 * reference.runs[0].top1, color=SOFT, linestyle=(0, (1, 3)), linewidth=2, label=reference.label)
    drawn = [row for row in students if curves.get(row.key)]
    for number, (row, style) in enumerate(zip(drawn, cycle(SERIES))):
        epochs, top1 = zip(*curves[row.key])
        axes.plot(
            epochs,
            [100 * value for value in top1],
            color=style.color,
            linestyle=style.dashes,
            linewidth=style.width,
            marker=style.marker,
            markersize=9 if number == 0 else 6,
            markerfacecolor="white" if number % 2 else style.color,
            label=plain(f"{row.label}, {row.figures['num_images']:.0f} images"),
        )
    axes.set_xlabel("epoch (passes over the images)")
    axes.set_ylabel("top-1 accuracy, %")
    axes.grid(axis="y", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=10, handlelength=4)
    save_figure(figure, path)
