"""How a command shows its stages: one live display in a terminal, a line at begin and end of a stage elsewhere."""

import os
import time
from collections.abc import Callable, Iterable
from typing import TextIO

import psutil
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from smi_hf.errors import printable
from smi_hf.progress import Bar

_BAR_WIDTH = 16


def is_live(stream: TextIO) -> bool:
    """Whether bars may be drawn there: it is a terminal that can move its cursor, and nobody records it for later."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not os.environ.get("CI")


class LineDisplay:
    """A line when a stage begins and one when it ends; nothing of stages within it.

    Args:
        write: prints a line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._begun: dict[Bar, float] = {}

    def begin(self, bar: Bar) -> None:
        if not self._begun:
            self._write(f"{printable(bar.description)}{f': {_counted(bar.total, bar.unit)}' if bar.total else ''} ...")
        self._begun[bar] = time.monotonic()

    def refresh(self, bar: Bar) -> None:
        pass

    def end(self, bar: Bar) -> None:
        seconds = time.monotonic() - self._begun.pop(bar)
        if not self._begun and not bar.has_failed:
            self._write(ended(bar, seconds))


class LiveDisplay:
    """Bars with units a minute, time left and memory, one a stage that is under way; a line of each that is over.

    Args:
        console: of the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._tasks: dict[Bar, TaskID] = {}
        self._begun: dict[Bar, float] = {}

    def begin(self, bar: Bar) -> None:
        if self._progress is None:
            # What others print goes where they print it: to the log, or to a file.
            self._progress = _Bars(console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._progress.start()
        self._tasks[bar] = self._progress.add_task(printable(bar.description), total=bar.total, unit=bar.unit, note="")
        self._begun[bar] = time.monotonic()

    def refresh(self, bar: Bar) -> None:
        if bar in self._tasks:
            self._progress.update(self._tasks[bar], completed=bar.done, note=bar.note)

    def end(self, bar: Bar) -> None:
        if bar not in self._tasks:
            return
        seconds = time.monotonic() - self._begun.pop(bar)
        self._progress.remove_task(self._tasks.pop(bar))
        if not self._tasks:
            self.close()
            if not bar.has_failed:
                self._console.print(Text(ended(bar, seconds)), soft_wrap=True)

    def close(self) -> None:
        """Takes away what is still drawn."""
        self._tasks.clear()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def ended(bar: Bar, seconds: float) -> str:
    """A stage that is over, in a line: "Inverting: 32 images in 12 s, 160 a minute, 812 MB"."""
    parts = []
    if bar.unit and bar.done:
        is_whole = bar.total is None or bar.done >= bar.total - 1e-6
        of_all = "" if is_whole else f" of {_number(bar.total)}"
        parts.append(f"{_counted(bar.done, bar.unit, of_all)} in {duration(seconds)}")
        if seconds >= 1:
            parts.append(f"{_number(60 * bar.done / seconds)} a minute")
    else:
        parts.append(duration(seconds))
    return f"{printable(bar.description)}: {', '.join([*parts, f'{memory_mb():,.0f} MB'])}"


def duration(seconds: float) -> str:
    """Seconds in words, as people say them: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def memory_mb() -> float:
    """Resident set of this process in 10^6 bytes."""
    return psutil.Process().memory_info().rss / 1e6


class _Bars(Progress):
    """Rich's bars, with the notes beneath them, and no wider than 80 columns need."""

    @classmethod
    def get_default_columns(cls) -> tuple[ProgressColumn, ...]:
        return (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            _Done(),
            _Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            _Memory(),
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["note"]:
                yield Text(f"  {task.fields['note']}", style="dim", no_wrap=True, overflow="ellipsis")


class _Done(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{_number(task.total)}"
        counted = f"{int(task.completed):,}{total} {_plural(task.fields['unit'], task.total or task.completed)}"
        return Text(counted if task.fields["unit"] else "")


class _Rate(ProgressColumn):
    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{_number(60 * task.speed)}/min")


class _Memory(ProgressColumn):
    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(f"{memory_mb():,.0f} MB", style="dim")


def _counted(count: float, unit: str, of_all: str = "") -> str:
    return f"{_number(count)}{of_all} {_plural(unit, count)}"


def _plural(unit: str, count: float) -> str:
    if count == 1 or not unit:
        return unit
    return f"{unit}es" if unit.endswith(("ch", "s")) else f"{unit}s"


def _number(value: float) -> str:
    """Three digits at least of what is small, every one of what is large."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
