"""Kills a process with SIGKILL just before the n-th change that it makes to files below a folder.

In a process of its own, started by `run_killed` (quick, as its imports are made once), or around any command:

    python tests/shims/killing.py FOLDER NUMBER -m smi_hf.cli.main quantize ...

NUMBER 0 kills nothing and says on stderr how many changes there were. Opening for writing, renaming, removing, making
and removing folders count, and so does each call that writes parquet, which pyarrow does behind Python's back.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from typing import Any

_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Counter:
    """Counts changes to files below a folder, and kills the process at one of them."""

    def __init__(self, folder: str | os.PathLike, number: int) -> None:
        self.folder = os.path.abspath(folder)
        self.number = number
        self.count = 0

    def arm(self) -> None:
        sys.addaudithook(self._hear)
        import pyarrow.parquet

        for name in ("__init__", "write_table", "close"):
            setattr(pyarrow.parquet.ParquetWriter, name, self._counted(getattr(pyarrow.parquet.ParquetWriter, name)))

    def _hear(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_change = any(letter in mode for letter in "wax+") if mode else bool(flags & _WRITING)
        else:
            path, is_change = (arguments or (None,))[0], event in _CHANGES
        if is_change and isinstance(path, (str, os.PathLike)):
            path = os.path.abspath(path)
            if path == self.folder or path.startswith(self.folder + os.sep):
                self._step()

    def _counted(self, call: Callable) -> Callable:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._step()
            return call(*args, **kwargs)

        return counted

    def _step(self) -> None:
        self.count += 1
        if self.count == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def processes() -> multiprocessing.context.BaseContext:
    """A context whose processes begin with torch and smi_hf imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["warm"])
    # Python below 3.12.4 does not tell that process where this one finds its modules, and then it imports nothing.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def run_killed(
    function: Callable, arguments: Sequence[Any], folder: str | os.PathLike, number: int, *, context: Any
) -> tuple[int, int]:
    """Calls a function of a module in a process that is killed before its n-th change below a folder, never if 0.

    Args:
        function: with its arguments something that can be pickled.

    Returns:
        Exit code of the process, -9 if it was killed, and the number of changes if it was not.
    """
    total = context.Value("i", 0)
    process = context.Process(target=_run, args=(function, arguments, str(folder), number, total))
    process.start()
    process.join()
    return process.exitcode, total.value


def _run(function: Callable, arguments: Sequence[Any], folder: str, number: int, total: Any) -> None:
    counter = Counter(folder, number)
    counter.arm()
    function(*arguments)
    total.value = counter.count


if __name__ == "__main__":
    folder, number, _, module, *rest = sys.argv[1:]
    counter = Counter(folder, int(number))
    counter.arm()
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        print(f"{counter.count} changes", file=sys.stderr)
