import pytest

from smi_hf.quantization.costs import Cost
from smi_hf.quantization.sensitivity import REPORT_FILE, Sensitivity, save_sensitivity
from smi_hf.reports.parts import Subject
from smi_hf.reports.sensitivity import FILE, natural, section

LAYERS = [Cost("layer.10.fc", 1, 0.5, 3.0), Cost("layer.9.fc", 1, 0.75, 1.0)]


@pytest.fixture
def subject(model_folder):
    total = Cost("all of them", 2, 0.4, 4.0)
    report = Sensitivity(LAYERS, [Cost("Linear", 2, 0.4, 4.0)], ["layer.10.fc"], total, total, 8)
    save_sensitivity(report, model_folder)
    return Subject.of(model_folder)


def test_the_report_that_quantize_leaves_is_shown(subject):
    assert FILE == REPORT_FILE
    shown = section(subject)
    (chart,) = shown.values["charts"]
    assert chart.title == "layer.10.fc costs most: 3 nats, 75 % of the sum over all layers"
    assert [list(line) for line in chart.numbers[1:]] == [["layer.9.fc", "1", "25.0"], ["layer.10.fc", "3", "50.0"]]
    assert shown.values["exclude"] == ["layer.10.fc"]


@pytest.mark.parametrize("text", ["{", "[]", '{"layers": 3}', '{"layers": [{"name": 1}]}'])
def test_a_file_that_is_none_is_left_out(subject, text, caplog):
    (subject.folder / FILE).write_text(text)
    assert section(subject) is None
    assert f"{FILE} is not shown" in caplog.text


def test_layers_are_numbered_as_people_count():
    assert sorted(["a.10.b", "a.9.b", "a.b"], key=natural) == ["a.9.b", "a.10.b", "a.b"]
    assert natural("a.²") == [(-1, "a.²")]
