"""Words in pictures: any label can be drawn, in its letters or by its number."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from smi_hf.images import lettering
from smi_hf.images.lettering import cut_to, letter, letter_label


@pytest.fixture(params=["with DejaVu", "Pillow alone"])
def fonts(request, monkeypatch):
    """Both places: where matplotlib is installed, and where it is not."""
    if request.param == "with DejaVu":
        pytest.importorskip("matplotlib")
        return 2
    own = lettering._fonts()[:1]
    monkeypatch.setattr(lettering, "_fonts", lambda: own)
    return 1


@pytest.mark.parametrize(
    ("name", "with_two_fonts", "with_one"),
    [
        ("great white shark", "great white shark", "great white shark"),
        ("3", "label 3", "label 3"),
        ("café", "café", "cafe"),
        ("собака", "собака", "label 7"),
        ("狗", "label 7", "label 7"),
        ("\U0001f415", "label 7", "label 7"),
        ("dog\x1b[31m\ncat", "dog [31m cat", "dog [31m cat"),
    ],
)
def test_a_label_is_drawn_in_its_letters_or_by_its_number(name, with_two_fonts, with_one, fonts):
    assert letter_label(name, 7).text == (with_two_fonts if fonts == 2 else with_one)


@pytest.mark.parametrize(
    "name", ["כלב לבן גדול " * 9, "كلب " * 30, "犬" * 90, "Hund " * 40, "\U0001f415" * 20, "\u202eabc", " "]
)
def test_any_name_is_drawn_within_its_width(name, fonts):
    line = cut_to(letter_label(name, 7), 100)
    assert line.width <= 100
    picture = Image.new("L", (200, 40), 255)
    line.draw(ImageDraw.Draw(picture), 0, 0, "black")
    drawn = np.asarray(picture)
    assert (drawn[:, 104:] == 255).all()


def test_a_name_of_nothing_is_a_number():
    assert letter_label(" \n", 7).text == "label 7"


def test_a_name_is_cut_with_an_ellipsis_only_where_it_is_too_long():
    line = letter("indigo bunting, indigo finch")
    assert cut_to(line, 400) == line
    short = cut_to(line, 120).text
    assert short.endswith("…") and line.text.startswith(short[:-1]) and not short.endswith(" …") and len(short) > 10
