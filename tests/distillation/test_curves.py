"""The chart of accuracy during training."""

import pytest

from smi_hf.distillation.curves import CHART_FILE, save_curves
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
    from matplotlib.axes import Axes

    drawn = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, *args, **kwargs: (drawn.append((*args, kwargs)), plot(self, *args, **kwargs))[1]
    )
    assert save_curves(ROWS, {"sparse": CURVE, "gaussian": CURVE}, tmp_path) == [CHART_FILE]
    assert (tmp_path / CHART_FILE).read_bytes().startswith(b"\x89PNG")
    assert [each[-1]["label"] for each in drawn] == ["inverted, 6 images", "Gaussian noise, 6 images"]
    assert [each[:2] for each in drawn] == [((1.0, 2.0), [25.0, 50.0])] * 2
    assert drawn[0][2] != drawn[1][2]


def test_without_a_curve_there_is_no_chart(tmp_path):
    assert save_curves(ROWS, {}, tmp_path) == save_curves(ROWS, {"sparse": ()}, tmp_path) == []
    assert not list(tmp_path.iterdir())
