"""What notebooks show: whole HTML that holds nothing of a stranger's, in the page's own colors."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from smi_hf.notebook import facts, one_line, panel, strip, table

NASTY = '<img src=x onerror="alert(1)">&\n\u202e| ```'
VOID = ("img", "br")


class Page(HTMLParser):
    """The tags of a page, each closed where it should be, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], [], "", []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def whole_page() -> str:
    png = base64.b64decode("iVBORw0KGgo=")
    return panel(
        NASTY,
        facts({NASTY: NASTY, "nothing": ""}),
        table([[NASTY, "top-1 %"], ["noise", NASTY]], NASTY),
        strip([(png, [NASTY, NASTY])], max_bytes=10_000),
    )


def test_names_of_strangers_are_text():
    page = Page(whole_page())
    assert set(page.tags) == {"div", "table", "caption", "tr", "th", "td", "figure", "img", "figcaption", "br", "span"}
    assert page.tags.count("img") == 1 and "nothing" not in page.text
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<img src=x onerror=") == 8 and "\u202e" not in page.text


def test_it_needs_nothing_from_elsewhere_and_sets_no_color():
    html = whole_page()
    assert all(value.startswith("data:") for name, value in Page(html).attributes if name == "src")
    assert "http" not in html and "<style" not in html and "<script" not in html
    # All but lines, which are grey.
    assert set(re.findall(r"(?<![-\w])color:([^;\"]+)", html)) == {"inherit"}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
@pytest.mark.parametrize(("background", "letters"), [("white", "black"), ("black", "white")])
def test_it_can_be_read_on_dark_and_on_light(tmp_path, background, letters):
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    html = panel("Result", facts({"images": "32"}), table([["row", "top-1 %"], ["noise", "5.0"]], "judged"))
    page.write_text(f"<!doctype html><body style='background:{background};color:{letters}'>{html}")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=400,200"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    subprocess.run(["chromium", *options, profile, f"--screenshot={picture}", str(page)], check=True, timeout=120)
    seen = np.asarray(Image.open(picture).convert("L"))
    ground = 255 if background == "white" else 0
    assert np.median(seen) == ground
    # Of every line some letters contrast with the page.
    lines = (np.abs(seen.astype(int) - ground) > 120).any(axis=1)
    assert np.diff(lines.astype(int)).clip(0).sum() >= 4


def test_pictures_stop_where_there_is_no_more_room():
    pictures = [(b"x" * 600, ["dog"])] * 5
    html = strip(pictures, max_bytes=2_500)
    assert html.count("<img") == 2
    assert strip(pictures, max_bytes=100) == ""


def test_long_values_are_cut_and_empty_ones_stay_empty():
    assert len(one_line("a" * 10_000)) == 300 and one_line("a" * 10_000).endswith("…")
    assert one_line("a\n b") == "a b" and one_line("") == ""
