"""The chart of accuracy during training."""

import pytest

from smi_hf.distillation import curves
from smi_hf.distillation.curves import CHART_FILE, finding, save_curves
from smi_hf.environment import missing_packages
from smi_hf.evaluation.table import Row, Scores

pytestmark = pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")

ROWS = [
    Row("teacher", "teacher", (Scores(0.9, 1.0, 1.0),)),
    Row("sparse", "inverted", (Scores(0.5, 1.0, 0.5),), {"num_images": 6}),
    Row("gaussian", "Gaussian noise", (Scores(0.5, 1.0, 0.5),), {"num_images": 6}),
    Row("plain", "quanto alone", (Scores(0.5, 1.0, 0.5),), {"num_images": 6}),
]
CURVE = ((1.0, 0.25), (2.0, 0.5))


def test_every_curve_is_drawn_with_its_label_and_a_style_of_its_own(tmp_path, monkeypatch):
    figures = []
    save = curves.save_figure
    monkeypatch.setattr(curves, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    assert save_curves(ROWS, {"sparse": CURVE, "gaussian": CURVE}, tmp_path) == [CHART_FILE]
    assert (tmp_path / CHART_FILE).read_bytes().startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    _, first, second = axes.lines
    assert [line.get_label() for line in (first, second)] == ["inverted, 6 images", "Gaussian noise, 6 images"]
    assert list(first.get_xdata()) == [1, 2] and list(second.get_ydata()) == [25, 50]
    # They lie on each other: the second is narrower, and so both are seen.
    assert first.get_linewidth() > second.get_linewidth() and second.is_dashed()
    assert first.get_marker() != second.get_marker()
    assert axes.get_xlabel().startswith("epoch") and axes.get_ylabel().endswith("%")


def test_the_title_says_what_each_set_of_images_taught():
    assert finding(ROWS) == (
        "Taught on inverted: 50.0 % top-1; Gaussian noise: 50.0 %; quanto alone: 50.0 %; the teacher has 90.0 %"
    )


def test_without_a_curve_there_is_no_chart(tmp_path):
    assert save_curves(ROWS, {}, tmp_path) == save_curves(ROWS, {"sparse": ()}, tmp_path) == []
    assert not list(tmp_path.iterdir())
