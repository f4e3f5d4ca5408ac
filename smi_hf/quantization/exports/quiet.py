"""Other people's converters, heard only when they fail."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def quiet(*packages: str) -> Iterator[None]:
    """While it lasts, packages log errors alone, warnings are not shown, and nothing reaches the standard output.

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
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
        level, root.filters, root.handlers = of_root
        root.setLevel(level)
