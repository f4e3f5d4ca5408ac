import pytest

from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.costs import Cost
from smi_hf.quantization.mixing import REPORT_FILE, Mixture, save_mixture
from smi_hf.reports.mixture import FILE, section
from smi_hf.reports.page import render
from smi_hf.reports.parts import Subject


@pytest.fixture
def leave(model_folder):
    def save(wide: list[str], in_float: list[str]) -> Subject:
        before, after = Cost("all", 3, 0.5, 2.0), Cost("all", 3, 0.99, 0.01)
        save_mixture(Mixture(wide, in_float, before, after, 12), QuantizationConfig(), model_folder)
        return Subject.of(model_folder)

    return save


def test_the_mixture_that_quantize_leaves_is_shown(leave):
    assert FILE == REPORT_FILE
    values = section(leave(["layer.1.fc", "layer.2.fc"], [])).values
    assert values["groups"] == {"activations in 16 bits": ["layer.1.fc", "layer.2.fc"]}
    assert values["cells"][1:] == [["all layers alike", "50.0", "2"], ["this mixture", "99.0", "0.01"]]


def test_its_page_names_the_layers(leave, parse):
    text = parse(render([leave(["layer.1.fc"], ["head<b>"])])).text
    assert "1 layer with activations in 16 bits" in text
    assert "1 layer with floating point" in text and "head<b>" in text


def test_a_mixture_of_nothing_says_so(leave, parse):
    assert "No layer needed more bits than the others." in parse(render([leave([], [])])).text


def test_a_folder_without_one_has_no_such_section(model_folder):
    assert section(Subject.of(model_folder)) is None
