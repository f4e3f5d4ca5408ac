"""Help in two lengths: `--help`, a screen of the options that matter, and `--help-all`, every option.

Both are made of the help of the options themselves, which is written once, where an option is declared. A command says
which options matter, under which headings (`OPTIONS` in its file).
"""

import argparse
import enum
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HELP_OPTIONS = ("-h", "--help")
MAX_WIDTH = 80
MIN_WIDTH = 40
_HELP_COLUMN = 29
# What stands for a value where the last word of the option's name would not say it.
_VALUE_NAMES = {"path": "MODEL", "json": "FILE", "to": "TRACKER"}
# Help that says its default itself.
_SAYS_DEFAULT = re.compile(r"\bDefault|\bdefaults? (?:to|is|of)\b|, the default,|\(default")


def asks_for_short_help(arguments: Sequence[str] | None = None) -> bool:
    """Whether a command is to print its short help and nothing else, so that it need not know every option."""
    return not set(HELP_OPTIONS).isdisjoint(sys.argv[1:] if arguments is None else arguments)


def short_help(parser: argparse.ArgumentParser, options: Mapping[str, Sequence[str]]) -> str:
    """The options that matter, a sentence each, and the first examples.

    Args:
        options: their names, without dashes, by heading.
    """
    actions = {action.dest: action for action in shown_actions(parser)}
    blocks = [_usage(parser), fit(parser.description or "")]
    for heading, names in options.items():
        blocks.append(_section(heading, [actions[name] for name in names], brief=True))
    examples = (parser.epilog or "").strip().split("\n\n")[0]
    blocks += [fit(examples), f"Every option, and more about them: {parser.prog} --help-all"]
    return "\n\n".join(filter(None, blocks)) + "\n"


def full_help(
    parser: argparse.ArgumentParser, options: Mapping[str, Sequence[str]], rest: Mapping[str, Iterable[str]]
) -> str:
    """Every option: those that matter first, then the others by heading.

    Args:
        options: as of `short_help`.
        rest: names by heading; those of `options` are passed over. What stands nowhere comes last.
    """
    left = {action.dest: action for action in shown_actions(parser)}
    blocks = [_usage(parser), fit(parser.description or "")]
    for heading, names in [*options.items(), *rest.items(), ("everywhere", tuple(left))]:
        section = [left.pop(name) for name in names if name in left]
        blocks += [_section(heading, section, brief=False)] if section else []
    return "\n\n".join(filter(None, [*blocks, fit((parser.epilog or "").strip())])) + "\n"


def shown_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What help lists: one for each option; `--no_x` is left to `--x false`."""
    return [action for action in parser._actions if not (action.nargs == 0 and action.const is False)]


def fit(text: str) -> str:
    """A text of paragraphs and indented lines within the width; examples, which a shell reads, stay as they are."""
    lines: list[str] = []
    for is_indented, group in _grouped(text.splitlines()):
        if is_indented:
            lines += (wrapped for line in group for wrapped in _hanging(line))
        else:
            lines += textwrap.wrap(" ".join(group), _width(), break_on_hyphens=False) or [""]
    return "\n".join(lines)


def _grouped(lines: Sequence[str]) -> list[tuple[bool, list[str]]]:
    """Lines of one paragraph together; an empty line, and one that ends in a colon, ends it."""
    groups: list[tuple[bool, list[str]]] = []
    begins = True
    for line in lines:
        is_indented = line.startswith(" ")
        if begins or not line or groups[-1][0] != is_indented:
            groups.append((is_indented, []))
        groups[-1][1].append(line)
        begins = not line or line.endswith(":")
    return groups


def _hanging(line: str) -> list[str]:
    """A line of a list, wrapped under its second column; a command as it is."""
    if len(line) <= _width() or line.endswith("\\") or line.lstrip().startswith(("--", "smi-hf", "accelerate")):
        return [line]
    name = re.match(r"\s+\S+(?:\s{2,}|\s(?=.))|\s+", line)
    column = name.end() if name else 0
    return textwrap.wrap(line, _width(), subsequent_indent=" " * column, break_on_hyphens=False)


def _width() -> int:
    return max(MIN_WIDTH, min(MAX_WIDTH, shutil.get_terminal_size().columns))


def _usage(parser: argparse.ArgumentParser) -> str:
    # What has no name comes first.
    actions = sorted(shown_actions(parser), key=lambda action: bool(action.option_strings))
    needed = " ".join(_invocation(action) for action in actions if action.required)
    return fit(f"usage: {parser.prog} {f'{needed} ' if needed else ''}[options]")


def _section(heading: str, actions: Iterable[argparse.Action], *, brief: bool) -> str:
    return "\n".join([f"{heading}:", *(line for action in actions for line in _lines(action, brief=brief))])


def _lines(action: argparse.Action, *, brief: bool) -> list[str]:
    """An option and its help beside it."""
    name, indent = f"  {_invocation(action)}", " " * _HELP_COLUMN
    help = _help(action, brief=brief)
    lines = textwrap.wrap(
        help, _width(), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
    if not lines or len(name) > _HELP_COLUMN - 2:
        return [name, *lines]
    return [name.ljust(_HELP_COLUMN) + lines[0].lstrip(), *lines[1:]]


def _invocation(action: argparse.Action) -> str:
    """`--num_images N`, `--classes CLASSES ...`, `--compile`, `FOLDER`."""
    value = action.metavar if isinstance(action.metavar, str) else _value_name(action)
    if not action.option_strings:
        return value
    if action.nargs == 0 or (action.nargs == "?" and action.default is not True):
        return ", ".join(action.option_strings)
    if _is_bool(action):
        value = "true|false"
    return f"{action.option_strings[-1]} {value}{' ...' if action.nargs == '+' else ''}"


def _value_name(action: argparse.Action) -> str:
    """What stands for the value: N and X for numbers, else the last word of the option's name."""
    if action.type is int:
        return "N"
    if action.type is float:
        return "X"
    word = action.dest.split("_")[-1] if action.option_strings else action.dest
    return _VALUE_NAMES.get(word, word.upper())


def brief_help(action: argparse.Action) -> str:
    """What an option is, in a sentence, with its choices and its default."""
    return _help(action, brief=True)


def _is_bool(action: argparse.Action) -> bool:
    return getattr(action.type, "__name__", "") == "string_to_bool"


def _help(action: argparse.Action, *, brief: bool) -> str:
    # Not %-formatting, as argparse has it: not every help of other libraries is fit for that.
    text = " ".join((action.help or "").replace("%(default)s", _plain(action.default)).replace("%%", "%").split())
    if brief:
        first, *others = re.split(r"(?<=\.)\s", text)
        text = " ".join([first, *(sentence for sentence in others if sentence.startswith("Default: "))])
    choices = list(map(_plain, action.choices or ()))
    notes = []
    if choices and not all(re.search(rf"\b{re.escape(choice)}\b", text) for choice in choices):
        notes.append(", ".join(choices))
    if action.default not in (None, False, "", [], argparse.SUPPRESS) or _is_zero(action.default):
        notes += [] if _SAYS_DEFAULT.search(text) else [f"default: {_plain(action.default)}"]
    return f"{text} ({'; '.join(notes)})".strip() if notes else text


def _is_zero(value: Any) -> bool:
    return value == 0 and not isinstance(value, bool)


def _plain(value: Any) -> str:
    """A default or choice as one would write it on the command line."""
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)
