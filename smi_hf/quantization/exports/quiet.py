"""Other people's converters, heard only when they fail; what they print goes to the log."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

logger = logging.getLogger(__name__)


@contextmanager
def quiet(*packages: str) -> Iterator[None]:
    """While it lasts, packages log errors alone, warnings are not shown, and what is printed is logged for debugging.

    To be imported before: NNCF takes hold of the standard output, and of a logger of its own class, at its import. The
    root logger is put back as it was: OpenVINO's converter raises its level, and leaves it so when it fails.
    """
    root = logging.getLogger()
    of_root = root.level, list(root.filters), list(root.handlers)
    loggers = [logging.getLogger(name) for name in packages]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with _Logged() as printed, redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
        level, root.filters, root.handlers = of_root
        root.setLevel(level)


class _Logged(io.TextIOBase):
    """A text stream whose lines are logged; of a line that is drawn again and again, such as a bar, the last."""

    def __init__(self) -> None:
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if drawn := line.rstrip().rpartition("\r")[2]:
                logger.debug("%s", drawn)
        return len(text)

    def close(self) -> None:
        if not self.closed and self._begun:
            self.write("\n")
        super().close()
