"""How charts look: series that are told apart without color, and words that are words."""

import pytest
from PIL import Image, ImageColor

from smi_hf.environment import missing_packages
from smi_hf.evaluation.charts import SERIES, new_figure, save_figure

needs_plots = pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")


def test_no_two_series_share_a_color_a_marker_or_dashes():
    for name in ("color", "marker", "dashes"):
        assert len({getattr(style, name) for style in SERIES}) == len(SERIES)


def test_colors_are_dark_enough_for_white():
    for style in SERIES:
        # WCAG's relative luminance; its contrast with white is at least 2 to 1, in print as on a screen.
        red, green, blue = (_linear(part / 255) for part in ImageColor.getrgb(style.color))
        assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) > 2


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4


@needs_plots
def test_a_title_is_text_whatever_it_holds_and_fits_the_figure(tmp_path):
    figure = new_figure(6, 2, "$x^2 costs {most}: 94.4 % " * 6)
    save_figure(figure, tmp_path / "chart.png")
    assert Image.open(tmp_path / "chart.png").width == 660
    (title,) = figure.texts
    extent = title.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1
    # A figure and its percent sign stay together.
    assert "94.4\n" not in title.get_text() and "\n%" not in title.get_text()
