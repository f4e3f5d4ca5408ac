"""The end of a command: one shape, and commands that can be copied."""

import sys

from smi_hf.cli.closing import Closing
from smi_hf.cli.screen import Screen

CLOSING = Closing(
    made="int8 model, " + "calibrated on images, " * 4,
    quality="top-1 97.0 %",
    where="out/my model",
    steps={"publish it": ["smi-hf", "push", "out/my model" + "l" * 80, "NAME"]},
)


def test_in_a_file_each_part_is_a_line():
    made, quality, where, following, command = str(CLOSING).splitlines()
    assert made.startswith("made      int8 model, calibrated on images, ")
    assert (quality, where) == ("quality   top-1 97.0 %", "where     out/my model")
    assert (following, command) == ("next, publish it:", f"  smi-hf push 'out/my model{'l' * 80}' NAME")


def test_in_a_terminal_words_are_folded_and_commands_are_not(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    *folded, command = str(CLOSING).splitlines()
    assert max(map(len, folded)) <= 60 and folded[1].startswith(" " * 10 + "images")
    assert command.endswith(" NAME")


def test_what_was_not_compared_is_left_out_and_quietly_nothing_comes_next():
    assert "controls" not in str(CLOSING)
    with Screen(["--quiet"]).shown():
        assert "next" not in str(CLOSING)


def test_names_of_others_do_not_control_the_terminal():
    assert "\x1b" not in str(Closing("a \x1b[31m model", "", ""))
