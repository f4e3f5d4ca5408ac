"""The examples at the end of each command's --help are commands that this command takes."""

import pytest

from smi_hf.cli.main import COMMANDS


def examples(epilog: str) -> list[str]:
    """Its commands, each in one line; one that begins with `...` goes on from the one before."""
    found: list[str] = []
    for line in epilog.replace("\\\n", " ").splitlines():
        words = line.split()
        if words[:1] == ["..."]:
            found.append(" ".join([found[-1], *words[1:]]))
        elif words[:1] == ["smi-hf"] or words[:2] == ["accelerate", "launch"]:
            # Where the output goes is the shell's business.
            found.append(" ".join(words).partition(" > ")[0])
    return found


def test_examples_are_found_in_an_epilog():
    epilog = "examples:\n  smi-hf a --b c \\\n      --d e\n  ... --f g\nText.\n  accelerate launch h.py --i j > k\n"
    assert examples(epilog) == ["smi-hf a --b c --d e", "smi-hf a --b c --d e --f g", "accelerate launch h.py --i j"]


@pytest.mark.parametrize("command", list(COMMANDS))
def test_the_examples_of_help_are_accepted(command, parser_of, parse_command):
    shown = examples(parser_of(command).epilog)
    assert any(example.startswith(f"smi-hf {command} ") for example in shown)
    refused = []
    for example in shown:
        try:
            parse_command(example)
        except (SystemExit, ValueError, AssertionError) as error:
            refused.append(f"{example}: {error}")
    assert not refused
