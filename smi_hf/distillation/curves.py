"""The chart of accuracy during training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from smi_hf.evaluation.table import Row
from smi_hf.files import replaced_atomically

CHART_FILE = "learning_curves.png"

# (epoch, top-1 in [0, 1]) during a training.
Curve = tuple[tuple[float, float], ...]
# Curves that lie on each other stay visible.
_STYLES = ("-", "--", "-.", ":")


def save_curves(rows: Sequence[Row], curves: Mapping[str, Curve], folder: Path) -> list[str]:
    """Writes `learning_curves.png` if accuracy was measured during a training; returns the names of what it wrote.

    Args:
        rows: the reference, which is drawn as a line across, first.
        curves: by the key of a row.
    """
    if not any(curves.values()):
        return []
    with replaced_atomically(folder / CHART_FILE) as temporary:
        _plot(rows, curves, temporary)
    return [CHART_FILE]


def _plot(rows: Sequence[Row], curves: Mapping[str, Curve], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    reference, *students = rows
    axes.axhline(100 * reference.runs[0].top1, color="grey", linestyle="--", label=reference.label)
    for number, row in enumerate(students):
        if curve := curves.get(row.key):
            epochs, top1 = zip(*curve)
            label = f"{row.label}, {row.figures['num_images']:.0f} images"
            style = _STYLES[number % len(_STYLES)]
            axes.plot(epochs, [100 * value for value in top1], style, marker=".", label=label)
    axes.set_title("Accuracy of the students while they learn")
    axes.set_xlabel("epoch")
    axes.set_ylabel("top-1, %")
    axes.legend(fontsize=8)
    figure.savefig(path, format="png", dpi=120)
