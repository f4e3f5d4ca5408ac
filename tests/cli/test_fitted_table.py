"""Tables at any width: figures stay whole."""

import io

import pytest
from rich.console import Console

from smi_hf.cli.fitted_table import FittedTable

HEADINGS = ("calibrated on", "runs", "top-1 %", "agreement %", "MB", "ms at 1", "images/s")
LINES = (
    ("(float32)", "1", "85.1", "100.0", "22.9", "13.5", "1089"),
    ("real images of a set with a long name, kept patches", "3", "84.9 ± 0.3", "97.5 ± 0.1", "6.9", "10.0", "2003"),
    ("a_name_without_any_place_to_break_it_at[red]", "3", "6.0 ± 3.5", "6.1 ± 3.4", "6.9", "10.0", "2004"),
)  # fmt: skip


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_figure_is_cut_and_no_line_too_long(width):
    shown = printed(FittedTable("title", HEADINGS, LINES, expendable=("images/s",)), width)
    assert "…" not in shown and max(map(len, shown.splitlines())) <= width
    for line in LINES:
        assert line[2] in shown and line[3] in shown
    # Labels are whole, too, once their lines are put together.
    cells = [line.replace("┃", "│").split("│")[1] for line in shown.splitlines() if line[:1] in "│┃"]
    together = "".join("".join(cells).split())
    assert all("".join(line[0].split()) in together for line in LINES)


def test_what_there_is_no_room_for_is_named():
    table = FittedTable("title", HEADINGS, LINES, caption="[a caption]", expendable=("images/s", "ms at 1"))
    assert "no room" not in printed(table, 160)
    shown = printed(table, 66)
    assert "no room for: " in shown and "images/s" in shown and "1089" not in shown
    assert "[a caption]" in shown and "MB" in shown


def test_headings_are_folded_before_columns_go():
    shown = printed(FittedTable("", HEADINGS[:4], LINES), 64)
    assert "no room" not in shown and "agreement %" not in shown and "agreement" in shown
