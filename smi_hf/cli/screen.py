"""What a command lets its user see: its own words and stages. What other packages say goes into a log file.

Results are printed to the standard output; everything here is about standard error.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import TextIO

from smi_hf import progress
from smi_hf.cli.help_text import asks_for_short_help
from smi_hf.cli.log_file import LogFile, stderr_into
from smi_hf.errors import UsageError, printable

logger = logging.getLogger(__name__)

# Prints a line.
Write = Callable[[str], None]

_PACKAGE = "smi_hf"
# Bars of others would be drawn into the log.
_NO_BARS = ("HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_PROGRESS_BARS")


class Volume(Enum):
    """How much of a command is seen."""

    QUIET = "the result alone, and errors"
    NORMAL = "stages and what smi_hf says"
    VERBOSE = "everything, with what other packages say"

    @classmethod
    def of(cls, words: Sequence[str]) -> "Volume":
        """What a command line asks for, which the parser checks later."""
        return cls.QUIET if "--quiet" in words else cls.VERBOSE if "--verbose" in words else cls.NORMAL


class Screen:
    """The standard error of a command; `shown` while it runs.

    Args:
        words: of the command line.
        command: its name, for the log.
    """

    def __init__(self, words: Sequence[str], *, command: str = "") -> None:
        self.volume = Volume.of(words)
        self.stream: TextIO = sys.stderr
        self.log: LogFile | None = None
        self._words = words
        self._command = command

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it lasts, what others say is kept off the screen, and stages are drawn there."""
        if asks_for_short_help(self._words):  # nothing to hide, and no time to lose
            yield
            return
        with ExitStack() as stack:
            if self.volume is not Volume.VERBOSE:
                stack.enter_context(_no_bars())
                self.log = LogFile.open([self._command, *self._words])
            if self.log is not None:
                self.stream = stack.enter_context(stderr_into(self.log))
                stack.enter_context(self.log.filled())
            _screens.append(self)
            stack.callback(_screens.remove, self)
            write = stack.enter_context(self._drawn())
            stack.enter_context(_heard(write, self.volume))
            try:
                yield
            except BaseException as error:
                if not isinstance(error, SystemExit | KeyboardInterrupt | UsageError):
                    logger.debug("ended early", exc_info=error)
                raise

    @contextmanager
    def _drawn(self) -> Iterator[Write]:
        """Stages on this screen; gives what writes a line there."""
        from smi_hf.cli.display import LineDisplay, LiveDisplay, is_live

        def write(line: str) -> None:
            print(line, file=self.stream, flush=True)

        if self.volume is Volume.QUIET:
            with progress.drawn_by(None):
                yield write
        elif self.volume is Volume.NORMAL and is_live(self.stream):
            from rich.console import Console
            from rich.text import Text

            console = Console(file=self.stream)
            display = LiveDisplay(console)
            with progress.drawn_by(display):
                try:
                    yield lambda line: console.print(Text(line), soft_wrap=True)
                finally:
                    display.close()
        else:
            with progress.drawn_by(LineDisplay(write)):
                yield write

    def name_log(self, *, has_failed: bool) -> None:
        """Says where the log lies, if there is something in it for the user; removes it if there is nothing at all."""
        if self.log is None:
            return
        if has_failed or (self.log.has_others and self.volume is not Volume.QUIET):
            print(f"log: {self.log.path}", file=sys.stderr)
        elif self.log.is_empty:
            self.log.path.unlink(missing_ok=True)


_screens: list[Screen] = []


def error_stream() -> TextIO:
    """Where a command may print what its user must see."""
    return _screens[-1].stream if _screens else sys.stderr


def is_quiet() -> bool:
    """Whether the command that runs is to show its result alone."""
    return bool(_screens) and _screens[-1].volume is Volume.QUIET


@contextmanager
def _no_bars() -> Iterator[None]:
    absent = [name for name in _NO_BARS if name not in os.environ]
    os.environ.update(dict.fromkeys(absent, "1"))
    try:
        yield
    finally:
        for name in absent:
            os.environ.pop(name, None)


@contextmanager
def _heard(write: Write, volume: Volume) -> Iterator[None]:
    """While it lasts, what smi_hf logs is shown: handlers at the root would show what others log as well."""
    package = logging.getLogger(_PACKAGE)
    handler, level = _ScreenHandler(write), package.level
    handler.setLevel({Volume.QUIET: logging.ERROR, Volume.VERBOSE: logging.DEBUG}.get(volume, logging.INFO))
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)


class _ScreenHandler(logging.Handler):
    """Writes each line once: of several models that a command makes, one warning is enough."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if line not in self._seen:
                self._seen.add(line)
                self._write(line)
        except Exception:
            self.handleError(record)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)
