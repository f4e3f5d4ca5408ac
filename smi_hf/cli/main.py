"""The `smi-hf` command: finds the subcommand and turns its errors into messages and exit codes."""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence

from smi_hf.errors import RunError, UsageError
from smi_hf.registry import suggest

# Subcommand -> what it does; its code is smi_hf/cli/<subcommand>.py, imported when it is called.
COMMANDS = {
    "invert": "make a dataset of sparse synthetic images from a Vision Transformer",
    "quantize": "make an int8 model of it, calibrated on those images",
    "distill": "teach it to a student on those images",
    "evaluate": "measure a model's accuracy on real images",
    "push": "publish any of these on the Hub, with a card",
    "demo": "try everything on a small embedded model, without a download",
    "doctor": "show versions, extras and devices, and what works here",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `smi-hf`; returns the exit code: 0 on success, 2 for a user's mistake, 1 for a failure."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0 if given else 2
    if given[0] == "--version":
        from smi_hf.environment import package_version

        print(f"smi-hf {package_version('smi-hf')}")
        return 0
    if given[0] not in COMMANDS:
        print(f"smi-hf: error: there is no command {given[0]!r}{suggest(given[0], list(COMMANDS))}", file=sys.stderr)
        print(_overview(), file=sys.stderr)
        return 2
    command = importlib.import_module(f"smi_hf.cli.{given[0]}")
    return answer_errors(command.run, given[1:])


def answer_errors(run: Callable[[Sequence[str] | None], None], arguments: Sequence[str] | None = None) -> int:
    """Runs a command; a known error becomes one message on stderr and an exit code, an unknown one a traceback."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("smi_hf").setLevel(logging.INFO)
    try:
        run(arguments)
    except UsageError as error:
        print(f"smi-hf: error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"smi-hf: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("smi-hf: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    return 0


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: smi-hf COMMAND [options]",
            "",
            "Data-free compression of Vision Transformers: images from the model, for the model.",
            "",
            *lines,
            "",
            "smi-hf COMMAND --help describes every option.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
