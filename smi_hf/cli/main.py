"""The `smi-hf` command: finds the subcommand and turns its errors into messages and exit codes."""

import errno
import importlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from smi_hf.cli.help_text import HELP_OPTIONS
from smi_hf.cli.screen import Screen
from smi_hf.errors import RunError, UsageError, printable
from smi_hf.registry import suggest

# Subcommand -> what it does; its code is imported when it is called.
COMMANDS = {
    "invert": "make a dataset of synthetic images from a Vision Transformer",
    "quantize": "make an int8 model of it, calibrated on those images",
    "prune": "make it smaller: fewer hidden units, fewer layers",
    "distill": "teach it to a student on those images",
    "export-images": "write those images as files that other runtimes calibrate on",
    "report": "show any of these in one HTML page",
    "evaluate": "measure a model's accuracy on real images",
    "push": "publish any of these on the Hub, with a card",
    "demo": "try everything on a small embedded model, without a download",
    "doctor": "show versions, extras and devices, and what works here",
    "completion": "print a script by which a shell completes all of this",
}
# A path that cannot be used, whoever looks at it first.
_WRONG_PATH = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
# What the same command does after it was interrupted; the others begin anew.
_CONTINUES = {"invert", "distill", "push"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `smi-hf`; returns the exit code: 0 on success, 2 for a user's mistake, 1 for a failure."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in HELP_OPTIONS:
        print(_overview())
        return 0 if given else 2
    if given[0] == "--version":
        from smi_hf.environment import package_version

        print(f"smi-hf {package_version('smi-hf')}")
        return 0
    if given[0] not in COMMANDS:
        _say(f"smi-hf: error: there is no command {given[0]!r}{suggest(given[0], list(COMMANDS))}")
        print(_overview(), file=sys.stderr)
        return 2
    command = importlib.import_module(module_of(given[0]))
    return answer_errors(command.run, given[1:], continues=given[0] in _CONTINUES)


def module_of(command: str) -> str:
    """The module that runs a subcommand: smi_hf.cli.export_images of export-images."""
    return f"smi_hf.cli.{command.replace('-', '_')}"


def answer_errors(
    run: Callable[[Sequence[str] | None], None], arguments: Sequence[str] | None = None, *, continues: bool = True
) -> int:
    """Runs a command; a known error becomes one message on stderr and an exit code, an unknown one a traceback.

    Args:
        continues: whether the same command goes on where an interrupted one stopped.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    screen = Screen(given, command=run.__module__.rpartition(".")[2])
    code = 1
    try:
        code = _code_of(run, given, screen, continues)
    except SystemExit:
        code = 2
        raise
    finally:
        screen.name_log(has_failed=code == 1)
    return code


def _code_of(
    run: Callable[[Sequence[str] | None], None], given: Sequence[str], screen: Screen, continues: bool
) -> int:
    try:
        with screen.shown(), _terminated_as_interrupted():
            run(given)
    except UsageError as error:
        _say(f"smi-hf: error: {error}")
        return 2
    except RunError as error:
        _say(f"smi-hf: failed: {error}")
        return 1
    except OSError as error:
        # The file system or the network refused; anything without a number is a fault of ours.
        if error.errno is None:
            raise
        is_mistake = error.errno in _WRONG_PATH
        _say(f"smi-hf: {'error' if is_mistake else 'failed'}: {error}")
        return 2 if is_mistake else 1
    except KeyboardInterrupt:
        what_next = "continues where it stopped" if continues else "begins anew"
        _say(f"smi-hf: interrupted; the same command {what_next}")
        return 130
    return 0


def _say(message: str) -> None:
    """One message on stderr; names from files of others must not control the terminal."""
    text = printable(message)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """While it lasts, SIGTERM ends a command as Ctrl-C does, so that what is half written is removed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: smi-hf COMMAND [options]",
            "",
            "Data-free compression of Vision Transformers, by images from the model itself.",
            "",
            *lines,
            "",
            "smi-hf COMMAND --help shows the options that matter, --help-all every option.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
