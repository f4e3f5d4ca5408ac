"""The way to a model in words and as a table."""

from dataclasses import replace

import pytest

from smi_hf.environment import Environment
from smi_hf.evaluation.record import DatasetReference, ModelRecord, Runtime, Step, StudentReference
from smi_hf.evaluation.steps import step_words, way_cells
from smi_hf.evaluation.table import Row, Scores
from smi_hf.images.real import ImageSetReference
from smi_hf.models import CheckpointReference

ENVIRONMENT = Environment("full", "cpu", {"python": "3.11"})
DATASETS = (DatasetReference("set", None, "0" * 64, 64, 46, True),)
VIT = CheckpointReference("someone/vit", "c" * 40, "vit", "1" * 64)
MEASURED = ImageSetReference("photographs", "parquet", None, 1000)


def row(key: str, label: str, *top1: float, **figures: float) -> Row:
    return Row(key, label, tuple(Scores(value, 0.97, 0.9) for value in top1), figures)


PRUNED = Step(
    "pruned",
    VIT,
    DATASETS,
    {"compensation": "ridge", "keep_mlp": 0.5, "layers": [0, 2], "layers_before": 3, "parameters_before": 5_700_000},
    ENVIRONMENT,
    measured=MEASURED,
    rows=(
        row("whole", "whole model", 0.85, parameters=5.7, macs=1.25, latency_ms_1=6.9),
        row("sparse", "inverted", 0.5, 0.52, parameters=3.9, macs=0.9, latency_ms_1=5.0),
        row("gaussian", "Gaussian noise", 0.16),
        row("pink", "1/f noise", 0.18, 0.2),
    ),
)
DISTILLED = Step(
    "distilled",
    VIT,
    DATASETS,
    {"loss": "kl"},
    ENVIRONMENT,
    student=StudentReference("pruned", None, "vit", None, False, 3_900_000, "kept patches"),
)
QUANTIZED = ModelRecord(
    "quantized",
    CheckpointReference("recovered", None, "vit", "2" * 64),
    DATASETS,
    {"backend": "onnx", "weights": 8, "activations": 8},
    ENVIRONMENT,
    runtime=Runtime("ONNX Runtime", "optimum"),
    measured=MEASURED,
    rows=(row("float32", "float32", 0.8), row("sparse", "inverted", 0.79, size_mb=4.2, latency_ms_1=2.4)),
    history=(PRUNED, DISTILLED),
)


def test_the_table_begins_with_the_whole_model_and_blanks_what_a_step_does_not_know():
    assert way_cells(QUANTIZED) == [
        ["step", "top-1 %", "M parameters", "GMACs", "MB", "ms at 1", "top-1 % of the best control"],
        ["(someone/vit)", "85.0", "5.7", "1.25", "", "6.9", ""],
        ["pruned: 50 % of each MLP, 2 of 3 layers", "51.0 ± 1.4", "3.9", "0.90", "", "5.0", "19.0 ± 1.4 (1/f noise)"],
        ["taught by someone/vit on 64 images", "", "3.9", "", "", "", ""],
        ["quantized: W8/A8, ONNX Runtime", "79.0", "", "", "4.2", "2.4", ""],
    ]


def test_columns_that_nobody_has_are_left_out():
    unjudged = replace(QUANTIZED, rows=(), measured=None, history=(replace(PRUNED, rows=(), measured=None), DISTILLED))
    head, first, *_ = way_cells(unjudged)
    assert (head, first) == (["step", "M parameters"], ["(someone/vit)", "5.7"])


def test_a_way_that_begins_with_a_student_says_that_the_first_line_is_its_teacher():
    judged = replace(DISTILLED, measured=MEASURED, rows=(row("teacher", "teacher", 0.9), row("sparse", "", 0.8)))
    assert way_cells(replace(QUANTIZED, history=(judged,)))[1][:2] == ["(someone/vit, the teacher)", "90.0"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"keep_mlp": 1.0, "layers": [0], "layers_before": 2}, "pruned: 1 of 2 layers"),
        ({"keep_mlp": 0.25}, "pruned: 25 % of each MLP"),
        ({"keep_mlp": "half", "layers": 3, "layers_before": None}, "pruned"),
        ({"keep_mlp": True, "layers": [], "layers_before": "x"}, "pruned"),
        ({"keep_mlp": -(10**400), "layers": [], "layers_before": 10**400}, "pruned"),
    ],
)
def test_words_say_what_went_and_take_no_settings_for_granted(settings, words):
    assert step_words(replace(PRUNED, settings={"compensation": "ridge"} | settings)) == words


def test_integers_of_a_student_were_taught_and_quantized():
    integers = replace(QUANTIZED, student=DISTILLED.student)
    assert step_words(integers) == "taught by recovered on 64 images, quantized: W8/A8, ONNX Runtime"
