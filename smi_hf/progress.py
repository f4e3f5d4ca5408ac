"""What long work says of itself: stages, each with a bar, drawn by whoever runs the work.

In a program of somebody else they are tqdm's bars, as everywhere. A command draws all of them on one display
(`drawn_by`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")

# tqdm's own shows every digit of what is done, which need not be a whole number.
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class Display(Protocol):
    """Draws bars. A stage may begin while another one is under way."""

    def begin(self, bar: "Bar") -> None: ...

    def refresh(self, bar: "Bar") -> None: ...

    def end(self, bar: "Bar") -> None: ...


class Bar:
    """A stage of a run, from its first moment to `close`; use it in a `with` block where that is possible.

    Args:
        description: what is done: "Pruning".
        total: how much there is to do, None if that is not known.
        unit: what is counted, one of it: "image". Empty if nothing is.
        display: draws it, None if it is not to be seen.
    """

    def __init__(self, description: str, *, total: float | None, unit: str, display: Display | None) -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.done = 0.0
        self.note = ""
        self.has_failed = False
        self._display = display
        if display is not None:
            display.begin(self)

    @property
    def is_shown(self) -> bool:
        return self._display is not None

    def update(self, count: float = 1) -> None:
        """So much more is done."""
        self.advance_to(self.done + count)

    def advance_to(self, done: float, note: str | None = None) -> None:
        """So much is done in all.

        Args:
            note: a few words beside the bar: the loss. What was there stays if None.
        """
        self.done = done
        if note is not None:
            self.note = note
        if self._display is not None:
            self._display.refresh(self)

    def close(self) -> None:
        """The stage is over. Closing it again does nothing."""
        if self._display is not None:
            self._display.end(self)
            self._display = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.has_failed = kind is not None
        self.close()


class TqdmDisplay:
    """Each bar as one of tqdm's, in a terminal or a notebook; none of stages in which nothing is counted."""

    def __init__(self) -> None:
        self._drawn: dict[Bar, Any] = {}

    def begin(self, bar: Bar) -> None:
        if not bar.unit:
            return
        from tqdm.auto import tqdm

        self._drawn[bar] = tqdm(
            total=bar.total,
            desc=bar.description,
            unit=bar.unit,
            bar_format=None if bar.total is None else _FORMAT,
        )

    def refresh(self, bar: Bar) -> None:
        drawn = self._drawn.get(bar)
        if drawn is not None:
            drawn.set_postfix_str(bar.note, refresh=False)
            drawn.update(bar.done - drawn.n)

    def end(self, bar: Bar) -> None:
        drawn = self._drawn.pop(bar, None)
        if drawn is not None:
            drawn.close()


_displays: list[Display | None] = [TqdmDisplay()]


@contextmanager
def drawn_by(display: Display | None) -> Iterator[None]:
    """While it lasts, stages that begin are drawn by this display; by none if it is None."""
    _displays.append(display)
    try:
        yield
    finally:
        _displays.remove(display)


def bar(description: str, *, total: float | None = None, unit: str = "", disable: bool = False) -> Bar:
    """Begins a stage; see `Bar`.

    Args:
        disable: draw nothing.
    """
    return Bar(description, total=total, unit=unit, display=None if disable else _displays[-1])


def each(items: Iterable[T], description: str, *, unit: str, disable: bool = False) -> Iterator[T]:
    """The items one after the other, as a stage. How many there are is known of what has a length."""
    with bar(description, total=_length(items), unit=unit, disable=disable) as stage:
        for item in items:
            yield item
            stage.update()


def _length(items: Iterable[Any]) -> int | None:
    return len(items) if hasattr(items, "__len__") else None
