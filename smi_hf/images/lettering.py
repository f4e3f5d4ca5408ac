"""Words in pictures, drawn with a font that has their letters: Pillow's own, or that of matplotlib where it is there.

Pillow's has no letter beyond ASCII's, matplotlib's (DejaVu Sans) the alphabets of Europe, Hebrew and Arabic.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageDraw, ImageFont, features

from smi_hf.data.captions import label_words

# Height of letters, in pixels.
_SIZE = 15
# No picture has room for more.
_MAX_LETTERS = 200
_ELLIPSIS = "…"
# Nobody's letter: fonts draw their sign for what they lack.
_NO_LETTER = "\uffff"
_RIGHT_TO_LEFT = ("R", "AL", "AN")


@dataclass(frozen=True)
class Line:
    """A line of words and the font that has its letters."""

    text: str
    font: ImageFont.FreeTypeFont

    def draw(self, sheet: ImageDraw.ImageDraw, left: float, top: float, color: str) -> None:
        """Draws the line from its upper left corner, in pixels."""
        sheet.text((left, top), self.text, fill=color, font=self.font)

    @property
    def width(self) -> float:
        """In pixels."""
        return self.font.getlength(self.text)


def letter(text: str, *, instead: str = "") -> Line:
    """A line in the first font that has all its letters, without accents if need be.

    Args:
        instead: ASCII that is drawn where no font has them, or there are none.
    """
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text[:_MAX_LETTERS]).split())
    for candidate in (text, _without_accents(text)):
        for font in _fonts():
            if candidate and _can_draw(font, candidate):
                return Line(candidate, font)
    return Line(instead, _fonts()[0])


def letter_label(name: str, label: int) -> Line:
    """The name of a label, in words where it is a number; its number where no font has the name's letters."""
    return letter(label_words(name), instead=f"label {label}")


def cut_to(line: Line, width: int) -> Line:
    """The line, cut with an ellipsis where it is wider than `width` pixels."""
    if line.width <= width:
        return line
    text = line.text
    while text and line.font.getlength(text.rstrip() + _ELLIPSIS) > width:
        text = text[:-1]
    return Line(text.rstrip() + _ELLIPSIS, line.font)


@cache
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    own = ImageFont.load_default(_SIZE)
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        return (own,)
    path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return (own, ImageFont.truetype(str(path), _SIZE)) if path.is_file() else (own,)


def _can_draw(font: ImageFont.FreeTypeFont, text: str) -> bool:
    # Without it their order would be wrong.
    if any(unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT for sign in text) and not features.check("raqm"):
        return False
    lacking = bytes(font.getmask(_NO_LETTER))
    return all(sign == " " or bytes(font.getmask(sign)) != lacking for sign in set(text))


def _without_accents(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
