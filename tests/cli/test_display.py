"""How stages look: lines where nobody watches, bars within 80 columns where somebody does."""

import io
import re

import pytest
from rich.console import Console

from smi_hf import progress
from smi_hf.cli.display import LineDisplay, LiveDisplay, duration, ended, is_live, memory_mb


def test_a_line_when_a_stage_begins_and_one_when_it_ends_and_none_of_those_within():
    lines = []
    with (
        progress.drawn_by(LineDisplay(lines.append)),
        progress.bar("Teaching", total=2, unit="step") as bar,
        progress.bar("Judging", total=9, unit="batch"),
    ):
        bar.update(2)
    assert lines[0] == "Teaching: 2 steps ..."
    (end,) = lines[1:]
    assert re.fullmatch(r"Teaching: 2 steps in \d\.\d s, [\d,]+ MB", end)


def test_a_stage_that_failed_has_no_last_line():
    lines = []
    with pytest.raises(KeyError), progress.drawn_by(LineDisplay(lines.append)), progress.bar("Loading"):
        raise KeyError
    assert lines == ["Loading ..."]


def test_bars_fit_80_columns_and_leave_a_line():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    display = LiveDisplay(console)
    with progress.drawn_by(display), progress.bar("Teacher's answers", total=123_456, unit="view") as bar:
        bar.advance_to(98_765.4, "cross_entropy=1.23, total_variation=0.123, " * 3)
        display._progress.refresh()
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "\n", console.file.getvalue()).replace("\r", "\n").splitlines()
    assert any("98,765/123,456 views" in line and " MB" in line for line in shown)
    assert max(map(len, shown)) <= 80
    assert [line for line in shown if line][-1].startswith("Teacher's answers: 98,765 of 123,456 views in 0.")


def test_a_display_that_is_closed_leaves_the_cursor_alone():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    display = LiveDisplay(console)
    with progress.drawn_by(display):
        bar = progress.bar("Pruning")
        display.close()
        drawn = console.file.getvalue()
        bar.update()
        bar.close()
    assert console.file.getvalue() == drawn and "\x1b[?25h" in drawn  # the cursor is shown again


def test_a_pipe_a_dumb_terminal_and_a_build_get_lines(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_live(Terminal()) and not is_live(io.StringIO())
    monkeypatch.setenv("CI", "true")
    assert not is_live(Terminal())
    monkeypatch.delenv("CI")
    monkeypatch.setenv("TERM", "dumb")
    assert not is_live(Terminal())


def test_numbers_of_a_line_are_those_of_people():
    bar = progress.bar("Inverting", total=32, unit="image", disable=True)
    bar.advance_to(31.5)
    assert ended(bar, 63).startswith("Inverting: 31.5 of 32 images in 1 min 3 s, 30 a minute, ")
    bar.advance_to(32)
    assert ended(bar, 0.5).startswith("Inverting: 32 images in 0.5 s, ")
    assert [duration(seconds) for seconds in (0.04, 59.7, 7800)] == ["0.0 s", "1 min 0 s", "2 h 10 min"]
    assert 10 < memory_mb() < 1e6
