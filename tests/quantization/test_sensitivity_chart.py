"""The chart of a sensitivity report: what it says, and that small costs are seen beside large ones."""

import pytest
from PIL import Image

from smi_hf.environment import missing_packages
from smi_hf.quantization import sensitivity_chart
from smi_hf.quantization.costs import Cost
from smi_hf.quantization.sensitivity import Sensitivity
from smi_hf.quantization.sensitivity_chart import finding, in_nats, save_chart

pytestmark = pytest.mark.skipif(bool(missing_packages("plots")), reason="the plots extra is absent")


def report_of(divergences: list[float], exclude: tuple[str, ...] = ()) -> Sensitivity:
    # In an order that is not theirs by divergence, as reports go by agreement first.
    layers = [Cost(f"layer.{number}", 1, 1.0, divergence) for number, divergence in enumerate(divergences)]
    operators = [Cost("Add", 1, 1.0, divergences[-1]), Cost("Linear", len(layers), 0.5, sum(divergences))]
    rest = Cost("rest", len(layers) - len(exclude), 1.0, 0.25)
    return Sensitivity(layers, operators, list(exclude), Cost("all", len(layers), 0.5, 1.1), rest, 12)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a report; returns its figure."""

    def draw(report):
        figures = []
        save_figure = sensitivity_chart.save_figure
        monkeypatch.setattr(
            sensitivity_chart, "save_figure", lambda figure, path: (figures.append(figure), save_figure(figure, path))
        )
        save_chart(report, tmp_path / "chart.png")
        assert (tmp_path / "chart.png").stat().st_size < 300_000
        assert Image.open(tmp_path / "chart.png").width < 1100
        return figures[0]

    return draw


def names(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_the_title_names_the_worst_layer_and_what_all_cost():
    assert finding(report_of([0.001, 0.8, 0.2])) == "layer.1 costs most: 0.8 nats; all 3 layers together cost 1.1"
    assert finding(report_of([0.0, 0.0])) == "No layer costs anything that can be measured"


def test_small_costs_have_a_bar_beside_a_large_one_and_every_bar_its_figure(drawn):
    figure = drawn(report_of([0.0002] * 7 + [0.8] + [0.00004] * 4, exclude=("layer.7",)))
    operators, layers = figure.axes
    assert names(operators) == ["Linear", "Add"]
    assert names(layers)[0] == "layer.7" and len(names(layers)) == 12
    assert layers.get_xscale() == "log" and "logarithmic" in layers.get_xlabel() and "nats" in layers.get_xlabel()
    # In pixels: the smallest bar is seen, and the longest ends before the panel does.
    widths = [bar.get_window_extent().width for bar in layers.patches]
    assert min(widths) > 8 and max(widths) < layers.bbox.width
    assert [text.get_text() for text in layers.texts] == ["0.8"] + ["0.0002"] * 7 + ["0.00004"] * 4
    (legend,) = figure.legends
    assert "(1); the rest without them costs 0.25 nats" in legend.get_texts()[0].get_text()
    # The proposed layer is told apart without color.
    assert [bar.get_hatch() for bar in layers.patches] == ["///"] + [None] * 11


def test_costs_of_one_size_are_drawn_to_scale_from_zero(drawn):
    _, layers = drawn(report_of([0.1, 0.2, 0.3])).axes
    assert layers.get_xscale() == "linear" and layers.get_xlim()[0] == 0
    assert [bar.get_width() for bar in layers.patches] == [0.3, 0.2, 0.1]


@pytest.mark.parametrize(("count", "last"), [(20, "layer.0"), (21, "layer.0"), (22, "the other 2, summed")])
def test_of_many_layers_the_worst_twenty_are_named_and_the_rest_summed(drawn, count, last):
    _, layers = drawn(report_of([0.001 * (number + 1) for number in range(count)])).axes
    assert names(layers)[-1] == last and len(names(layers)) == min(count, 21)
    if count == 22:
        assert layers.texts[-1].get_text() == "0.003"


@pytest.mark.parametrize("divergences", [[0.0], [0.0, 0.0], [0.0, 0.5], [1e-12, 5.0]])
def test_nothing_and_next_to_nothing_can_be_drawn(drawn, divergences):
    drawn(report_of(divergences))


def test_divergences_have_two_digits_and_no_exponent():
    assert [in_nats(each) for each in (0, 1e-9, 0.000123, 0.8, 1.149)] == ["0", "< 0.00001", "0.00012", "0.8", "1.1"]
