"""A log file of each command: what other packages, in Python or not, would have written on the screen."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from smi_hf.environment import cache_folder, package_versions

_PACKAGE = "smi_hf"
_KEPT_LOGS = 20
_STANDARD_ERROR = 2


class LogFile:
    """A file for what other packages say, and smi_hf's own lines between.

    Args:
        path: of a file that is there already, with the head that `open` wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._head = path.stat().st_size
        self._handler = _LogHandler(path)

    @classmethod
    def open(cls, words: Sequence[str]) -> "LogFile | None":
        """A new log in the cache (`SMI_HF_CACHE`); the oldest go. None where nothing can be written there."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        head = f"smi-hf {' '.join(_without_secrets(words))}\n{package_versions()}\n"
        try:
            folder = cache_folder() / "logs"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(head, encoding="utf-8", errors="backslashreplace")
            for old in sorted(folder.glob("*.log"))[:-_KEPT_LOGS]:
                old.unlink(missing_ok=True)
            return cls(folder / name)
        except OSError:
            return None

    @contextmanager
    def filled(self) -> Iterator[None]:
        """While it lasts, what is logged anywhere and warned of by Python goes into the file."""
        root = logging.getLogger()
        root.addHandler(self._handler)
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.removeHandler(self._handler)
            self._handler.close()

    @property
    def is_empty(self) -> bool:
        return self._size == self._head

    @property
    def has_others(self) -> bool:
        """Whether anybody but smi_hf wrote there."""
        return self._size > self._head + self._handler.num_own_bytes

    @property
    def _size(self) -> int:
        with suppress(OSError):
            return self.path.stat().st_size
        return self._head


def _without_secrets(words: Sequence[str]) -> Iterator[str]:
    """The words of a command line, without the values of options such as --hub_token."""
    is_secret = False
    for word in words:
        name, equals, _ = word.partition("=")
        is_option = word.startswith("--")
        if is_secret and not is_option:
            yield "..."
        else:
            yield f"{name}=..." if is_option and "token" in name and equals else word
        is_secret = is_option and "token" in name and not equals


class _LogHandler(logging.FileHandler):
    """Counts what comes from this package."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, delay=True, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.num_own_bytes = 0

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if record.name.partition(".")[0] == _PACKAGE:
            text = self.format(record) + self.terminator
            self.num_own_bytes += len(text.encode("utf-8", "backslashreplace"))


@contextmanager
def stderr_into(log: LogFile) -> Iterator[TextIO]:
    """While it lasts, standard error is the log, for other languages' libraries, too; yields the screen."""
    try:
        is_standard = sys.stderr.fileno() == _STANDARD_ERROR
    except (OSError, ValueError, AttributeError):
        is_standard = False
    if not is_standard:  # somebody in this process listens, a test or a notebook
        yield sys.stderr
        return
    sys.stderr.flush()
    screen = os.fdopen(
        os.dup(_STANDARD_ERROR), "w", encoding=sys.stderr.encoding or "utf-8", errors="backslashreplace", buffering=1
    )
    with open(log.path, "ab") as file:
        os.dup2(file.fileno(), _STANDARD_ERROR)
    try:
        yield screen
    finally:
        sys.stderr.flush()
        screen.flush()
        os.dup2(screen.fileno(), _STANDARD_ERROR)
        screen.close()
