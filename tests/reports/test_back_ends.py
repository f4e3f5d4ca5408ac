import pytest

from smi_hf.quantization.backend_comparison import COMPARISON_FILE, BackendComparison, ModelFigures
from smi_hf.reports.back_ends import FILE, section
from smi_hf.reports.page import render
from smi_hf.reports.parts import Subject

MODELS = (
    ModelFigures("onnx", True, None, 1.0, 4.0, 8.0, 200.0),
    ModelFigures("onnx", False, None, 0.95, 1.0, 4.0, 120.0),
)


@pytest.fixture
def subject(model_folder):
    left_out = {"executorch": "it has <no> kernel"}
    BackendComparison(MODELS, 20, False, "onnx", "onnx: twice as fast", left_out).save(model_folder)
    return Subject.of(model_folder)


def test_the_comparison_that_quantize_leaves_is_shown(subject):
    assert FILE == COMPARISON_FILE
    values = section(subject).values
    assert [list(row) for row in values["cells"]] == [
        ["back end", "agreement %", "ms for one image", "ms for 32 images", "MB on disk"],
        ["onnx, floating point", "100.0", "8", "200", "4"],
        ["onnx, integers", "95.0", "4", "120", "1"],
    ]
    (chart,) = values["charts"]
    assert ["onnx, integers", "ms for 32 images", "120"] in [list(row) for row in chart.numbers]
    assert values["judged_on"] == "20 synthetic images"


def test_accuracy_has_a_column_where_it_was_measured(model_folder):
    models = tuple(ModelFigures("onnx", is_float, 0.8, 1.0, 4.0, 8.0, 200.0) for is_float in (True, False))
    BackendComparison(models, 20, True, "onnx", "alike", {}).save(model_folder)
    values = section(Subject.of(model_folder)).values
    assert values["cells"][0][1] == "top-1 %" and values["cells"][1][1] == "80.0"
    assert values["judged_on"] == "20 labeled images"


def test_its_page_says_why_and_what_could_not_be_converted(subject, parse):
    text = parse(render([subject])).text
    assert "onnx: twice as fast." in text
    assert "executorch could not convert the model: it has <no> kernel" in text


def test_a_folder_without_one_has_no_such_section(model_folder):
    assert section(Subject.of(model_folder)) is None
