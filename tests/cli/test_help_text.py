"""How options are shown: names, values, defaults, choices, and lines that fit."""

from dataclasses import dataclass, field

import pytest

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.help_text import brief_help, fit, full_help, short_help, shown_actions

EPILOG = """examples:
  smi-hf thing --num_images 3 --and a line that is longer than all of the eighty columns there are
  smi-hf thing

Text of a paragraph that is written in two lines which are both far too long for a terminal, so that it is
filled anew:
  name   a purpose of many words that goes on and on until it does not fit into the line of the name
"""


@dataclass
class Options:
    """What is done, and how."""

    input_file: str = field(metadata={"help": "What goes in. A sentence more, about 100 % of it."})
    num_images: int = field(default=0, metadata={"help": "How many."})
    rate: float = field(default=1e-4, metadata={"help": "How fast. Default of the method is 3."})
    names: list[str] = field(default_factory=lambda: ["a", "b"], metadata={"help": "Which."})
    nothing: list[str] = field(default_factory=list, metadata={"help": "None."})
    kind: str = field(default="x", metadata={"help": "What kind.", "choices": ["x", "y"]})
    told: str | None = field(default=None, metadata={"help": "Kept in 'p' or 'q'. Default: p.", "choices": ["p", "q"]})
    is_on: bool = field(default=False, metadata={"help": "Switch it on."})
    is_off: bool = field(default=True, metadata={"help": "Whether to leave it off."})


@pytest.fixture
def parser():
    return ArgumentParser(Options, prog="smi-hf thing", description="Does a thing.", epilog=EPILOG)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("input_file", "What goes in."),
        ("num_images", "How many. (default: 0)"),
        ("rate", "How fast. (default: 0.0001)"),
        ("names", "Which. (default: a b)"),
        ("nothing", "None."),
        ("kind", "What kind. (x, y; default: x)"),
        ("told", "Kept in 'p' or 'q'. Default: p."),
        ("is_on", "Switch it on."),
        ("is_off", "Whether to leave it off. (default: true)"),
    ],
)
def test_an_option_is_a_sentence_with_its_choices_and_its_default(parser, name, shown):
    (action,) = (action for action in shown_actions(parser) if action.dest == name)
    assert brief_help(action) == shown


def test_the_short_help_has_the_chosen_options_under_their_headings_and_the_first_examples(parser):
    text = short_help(parser, {"in": ["input_file"], "how": ["num_images", "is_on"]})
    assert (
        text
        == """usage: smi-hf thing --input_file FILE [options]

Does a thing.

in:
  --input_file FILE          What goes in.

how:
  --num_images N             How many. (default: 0)
  --is_on                    Switch it on.

examples:
  smi-hf thing --num_images 3 --and a line that is longer than all of the eighty columns there are
  smi-hf thing

Every option, and more about them: smi-hf thing --help-all
"""
    )


def test_the_full_help_has_every_option_once_and_all_that_is_said_of_it(parser):
    text = full_help(parser, {"in": ["input_file"]}, {"rest": ["input_file", "names", "rate", "is_off"]})
    assert "What goes in. A sentence more, about 100 % of it." in " ".join(text.split())
    assert text.count("--input_file FILE ") == 2  # in the usage, too
    rest = text[text.index("rest:") : text.index("everywhere:")]
    assert "  --names NAMES ...          Which. (default: a b)\n" in rest
    assert "  --rate X                   How fast. Default of the method is 3.\n" in rest
    assert "  --is_off true|false        Whether" in rest
    assert "--no_is_off" not in text
    assert "  --num_images N " in text[text.index("everywhere:") :]


def test_an_unknown_option_among_those_that_matter_is_a_fault_of_ours(parser):
    with pytest.raises(KeyError, match="num_image"):
        short_help(parser, {"in": ["num_image"]})


def test_prose_is_filled_lists_hang_and_commands_stay(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = fit(EPILOG).splitlines()
    assert lines[1].endswith("columns there are")
    assert lines[4].startswith("Text of a paragraph") and lines[5].endswith("anew:")
    assert lines[6].startswith("  name   a purpose") and lines[7].startswith("         ")
    assert max(map(len, lines[2:])) <= 80
    monkeypatch.setenv("COLUMNS", "50")
    assert max(map(len, fit(EPILOG).splitlines()[2:])) <= 50


@pytest.mark.parametrize("help", ["%(default)s as it is", "50 %% of it", "[10% lower](x)"])
def test_help_of_others_is_shown_whatever_it_holds(help):
    parser = ArgumentParser((), options={"in": ["other"]}, prog="x")
    parser.add_argument("--other", default="this")
    parser._actions[-1].help = help
    shown = help.replace("%(default)s", "this").replace("%%", "%")
    assert shown in parser.format_help()
