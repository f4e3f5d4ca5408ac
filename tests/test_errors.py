"""Names that others wrote, as they are shown in messages."""

from smi_hf.errors import printable


def test_line_breaks_may_stay():
    assert printable("a\n\tb\x07", lines=True) == "a\n\tb\\x07"
