"""Names that others wrote, as they are shown in messages."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from smi_hf.errors import printable


def test_line_breaks_may_stay():
    assert printable("a\n\tb\x07", lines=True) == "a\n\tb\\x07"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=())))
def test_whatever_is_shown_is_printable_and_says_which_character_it_was(text):
    shown = printable(text)
    assert shown.isprintable() and printable(shown) == shown
    assert printable(text, lines=True).replace("\n", "").replace("\t", "").isprintable()
    if "\\" not in text:
        assert re.sub(r"\\(x..|u....|U........|[nrt])", lambda found: _character(found[0]), shown) == text


def _character(escape: str) -> str:
    return escape.encode().decode("unicode_escape")
