"""`smi-hf completion`: a script by which a shell completes commands, options, choices and files."""

import argparse
import copy
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.help_text import brief_help, shown_actions

SHELLS = ("bash", "zsh", "fish", "tcsh")

_EPILOG = """examples:
  mkdir -p ~/.local/share/bash-completion/completions
  smi-hf completion bash > ~/.local/share/bash-completion/completions/smi-hf
  smi-hf completion zsh > ~/.zfunc/_smi-hf

The script is for this version of smi_hf: print it again after an update. A new
shell reads it; bash needs the package bash-completion, or else
  source ~/.local/share/bash-completion/completions/smi-hf
and zsh, before compinit in ~/.zshrc,
  fpath+=~/.zfunc
"""


@dataclass
class CompletionArguments:
    """For which shell."""

    shell: str = field(metadata={"help": "Shell that completes.", "choices": SHELLS})


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        (),
        positionals=CompletionArguments,
        prog="smi-hf completion",
        description="Print a script by which a shell completes commands, options, choices and files with TAB.",
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Prints the script."""
    (given,) = make_parser().parse(arguments)

    import shtab

    print(shtab.complete(whole_parser(), shell=given.shell))


def whole_parser() -> argparse.ArgumentParser:
    """One plain parser of every command, as shtab reads it; it parses nothing."""
    import shtab

    from smi_hf.cli.main import COMMANDS, module_of

    whole = argparse.ArgumentParser(prog="smi-hf")
    commands = whole.add_subparsers()
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, add_help=False)
        for action in shown_actions(importlib.import_module(module_of(name)).make_parser()):
            option = copy.copy(action)
            # What is shown beside it, and formatted once more.
            option.help = brief_help(action).replace("%", "%%")
            # A text may be a path, and nothing else about it can be completed.
            if option.nargs != 0 and option.choices is None and option.type not in (int, float):
                option.complete = shtab.FILE
            command._add_action(option)
    return whole
