"""What a notebook shows of a compressed model and of what it was measured to be."""

from dataclasses import replace

import pytest

from smi_hf.environment import Environment
from smi_hf.evaluation.display import model_html, model_words
from smi_hf.evaluation.record import DatasetReference, HeldOut, ModelRecord, Runtime
from smi_hf.evaluation.run import Evaluation
from smi_hf.evaluation.table import Row, Scores
from smi_hf.images.real import ImageSetReference
from smi_hf.models import CheckpointReference

ROWS = (
    Row("float32", "float32", (Scores(0.9, 1.0, 1.0),), {"size_mb": 22.0}),
    Row("sparse", "inverted", (Scores(0.85, 1.0, 0.9), Scores(0.75, 1.0, 0.9)), {"size_mb": 6.0}),
    Row("gaussian", "<b>noise", (Scores(0.06, 0.2, 0.1),)),
)


@pytest.fixture
def judged_record() -> ModelRecord:
    return ModelRecord(
        "quantized",
        CheckpointReference("vit", None, "vit", "1" * 64, None),
        (DatasetReference("set", None, "0" * 64, 6, 7, True),),
        {"backend": "onnx", "weights": 8, "activations": 8},
        Environment("full", "cpu", {}),
        runtime=Runtime("ONNX Runtime", "optimum", ("onnx",)),
        num_labels=5,
        measured=ImageSetReference("photographs", "parquet", None, 200),
        rows=ROWS,
    )


def test_facts_and_the_table_are_shown(judged_record):
    html = judged_record._repr_html_()
    assert "Quantized model" in html and "judged on 200 images of photographs" in html
    for cell in ("inverted", "80.0 ± 7.1", "22.0", "6.0", "&lt;b&gt;noise", "(float32)"):
        assert f">{cell}<" in html
    assert model_words(judged_record)["top-1"] == "85.0 % (95 % interval 79.4 to 89.3)"


def test_without_a_table_it_says_what_is_known(judged_record):
    record = replace(judged_record, rows=(), measured=None, held_out=HeldOut(12, 0.75))
    assert "<caption" not in model_html(record)
    words = model_words(record)
    assert words["top-1"] == "" and words["agreement with the teacher"].startswith("75.0 % of 12 synthetic images")


def test_several_steps_are_told_in_their_order(judged_record):
    record: ModelRecord = replace(judged_record, history=judged_record.continued())
    assert model_words(record)["steps"] == "quantized, then quantized"
    assert model_words(judged_record)["steps"] == ""


def test_a_row_and_an_evaluation_are_shown_alone():
    assert ">80.0 ± 7.1<" in ROWS[1]._repr_html_()
    html = Evaluation(0.851, None, 1000, (0.83, 0.87), 2.25, "onnx")._repr_html_()
    assert "85.10 % (95 % interval 83.0 to 87.0 %)" in html and "top-5" not in html and "1000 images" in html
