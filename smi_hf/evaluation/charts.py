"""How charts look: colors that the color-blind and printers without color tell apart, with markers and dashes besides.

The colors are those of Okabe and Ito (2008), but for yellow, which is too faint on white.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.files import replaced_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
_TITLE_LETTERS_PER_INCH = 9.5
SOFT = "#595959"


@dataclass(frozen=True)
class SeriesStyle:
    """How one of several series is drawn; two differ in color, marker and dashes, and later ones are thinner.

    Args:
        color, marker, dashes, width: as matplotlib takes them.
    """

    color: str
    marker: str
    dashes: str | tuple[int, tuple[int, ...]]
    width: float


# The first is drawn broad, so that it is seen on both sides of one that lies on it.
SERIES = (
    SeriesStyle("#0072B2", "o", "-", 4.0),
    SeriesStyle("#D55E00", "s", (0, (5, 2)), 2.0),
    SeriesStyle("#009E73", "^", (0, (1, 1)), 2.0),
    SeriesStyle("#CC79A7", "D", (0, (5, 1, 1, 1)), 1.6),
    SeriesStyle("#000000", "v", (0, (8, 3)), 1.2),
    SeriesStyle("#56B4E9", "P", (0, (2, 2)), 1.2),
    SeriesStyle("#E69F00", "X", (0, (6, 1, 1, 1, 1, 1)), 1.2),
)


def new_figure(width: float, height: float, finding: str) -> "Figure":
    """An empty figure, in inches, with what it shows as a sentence over it; needs the extra `plots`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    # A figure and its percent sign stay in one line.
    title = textwrap.fill(plain(finding).replace(" %", "\u00a0%"), int(_TITLE_LETTERS_PER_INCH * width))
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold")
    return figure


def plain(text: str) -> str:
    """Text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a PNG atomically."""
    with replaced_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, pil_kwargs={"optimize": True})
