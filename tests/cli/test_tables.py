"""Tables as the terminal shows them: every cell whole, and names that others wrote as text."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from smi_hf.cli.tables import comparison_table, inversion_table, make_console, result_table, sensitivity_table
from smi_hf.evaluation.table import Row, Scores, table_cells
from smi_hf.quantization.backend_comparison import BackendComparison, ModelFigures
from smi_hf.quantization.sensitivity import Cost, Sensitivity

ROWS = (
    Row("float32", "float32", (Scores(0.851, 0.9, 1.0),), {"size_mb": 22.0}),
    Row("sparse", "inverted [red]x[/red] [/]", (Scores(0.8, 0.9, 0.9), Scores(0.7, 0.9, 0.9)), {"size_mb": 6.9}),
)


def shown(table) -> list[list[str]]:
    """The cells of a table, line by line, as they are printed where there is room."""
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    lines = console.file.getvalue().splitlines()
    return [[cell.strip() for cell in line[1:-1].replace("┃", "│").split("│")] for line in lines if line[:1] in "│┃"]


@pytest.mark.parametrize("num_labels", [5, 1000])
def test_a_result_table_has_the_cells_of_records_and_cards(num_labels):
    record = SimpleNamespace(rows=ROWS, student=None, num_labels=num_labels)
    assert shown(result_table(record, "[bold]title")) == table_cells(ROWS, "calibrated on", num_labels=num_labels)


def test_a_table_of_students_says_what_taught_them():
    record = SimpleNamespace(rows=ROWS, student="somebody", num_labels=5)
    assert shown(result_table(record, ""))[0][0] == "taught on"


def inversion(seconds, gflops, num_kept):
    settings = {"num_images": 4, "num_steps": 8}
    grid = SimpleNamespace(num_patches=16)
    results = {"target_top1": 0.75}
    record = SimpleNamespace(settings=settings, keep_counts=(16, num_kept), grid=grid, results=results)
    return SimpleNamespace(record=record, seconds=seconds, gflops=gflops)


def test_inversions_are_compared_with_the_first():
    table = inversion_table({"dense": inversion(8.0, 4.0, 16), "smi": inversion(2.0, 1.6, 7)})
    assert table.title == "4 images, 8 steps each"
    assert shown(table)[1:] == [
        ["dense", "16 of 16", "75.0 %", "8.0", "1.00", "4.0", "1.00"],
        ["smi", "7 of 16", "75.0 %", "2.0", "4.00", "1.6", "2.50"],
    ]


def test_an_inversion_that_was_there_already_took_no_time():
    table = inversion_table({"dense": inversion(8.0, 4.0, 16), "smi": inversion(0.0, 1.6, 7)})
    assert shown(table)[2][3:5] == ["0.0", ""]


@pytest.mark.parametrize("top1", [None, 0.851])
def test_back_ends_are_compared_and_the_recommended_one_is_marked(top1):
    in_float = ModelFigures("onnx", True, top1, 1.0, 23.04, 13.52, 292.9)
    in_integers = ModelFigures("onnx", False, top1, 0.975, 6.9, 10, 160)
    table = comparison_table(BackendComparison((in_float, in_integers), 32, top1 is not None, "onnx", "why", {}))
    assert table.title.endswith("judged on 32 images" if top1 else "judged on 32 synthetic images")
    accuracy = [] if top1 is None else ["85.1"]
    head = ["top-1 %"] if top1 else []
    assert shown(table) == [
        ["back end", *head, "agreement %", "MB", "ms at 1", "ms at 32", "images/s"],
        ["onnx, float32", *accuracy, "100.0", "23.0", "13.5", "293", "109"],
        ["onnx, integers *", *accuracy, "97.5", "6.9", "10.0", "160", "200"],
    ]


def test_the_worst_layers_are_shown_and_those_to_exclude_marked():
    layers = [Cost(f"layer[{number}]", 1, 0.9, 1 / (number + 1)) for number in range(25)]
    everything, rest = Cost("everything", 25, 0.5, 2.0), Cost("the rest", 24, 0.8, 1.0)
    report = Sensitivity(layers, [Cost("Linear", 25, 0.5, 2.0)], ["layer[0]"], everything, rest, 10)
    table = sensitivity_table(report, "10 images")
    names = [line[0] for line in shown(table)]
    assert names == ["", "Linear", "layer[0] *", *(f"layer[{n}]" for n in range(1, 20)), "everything", "the rest"]
    assert "the worst 20 of 25 layers" in table.caption


def test_without_a_terminal_no_cell_is_cut(capsys):
    # Wider than the 80 columns that are taken for a terminal's where there is none.
    long = Row("real", "real images of a dataset with a name " * 2, ROWS[1].runs)
    make_console().print(result_table(SimpleNamespace(rows=(*ROWS, long), student=None, num_labels=1000), ""))
    printed = capsys.readouterr().out
    assert long.label.strip() in printed and "inverted [red]x[/red] [/]" in printed and "…" not in printed
