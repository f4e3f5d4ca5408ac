"""The table of students: what it shows stands in their records."""

import importlib
from pathlib import Path

import pytest

from smi_hf import UsageError
from smi_hf.evaluation.record import ModelRecord

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "students"))
    return importlib.import_module("table")


@pytest.fixture(scope="module")
def taught(tiny_checkpoint, sparse_folder, photographs, tmp_path_factory):
    """A student that was shown kept patches, and the same shown tiles."""
    from smi_hf.cli.main import main

    folder = tmp_path_factory.mktemp("taught")
    for shown in ("kept", "tiled"):
        given = ["--teacher", tiny_checkpoint, "--student", tiny_checkpoint, "--from_scratch", "--dataset"]
        given += [sparse_folder, "--output_dir", folder / shown, "--shown", shown, "--eval_dataset", photographs]
        given += ["--max_steps", 1, "--use_cpu", "true", "--disable_tqdm", "true"]
        given += ["--controls", "gaussian"] if shown == "kept" else []
        assert main(["distill", *map(str, given)]) == 0
    return folder


def test_a_student_has_one_line_with_a_cell_for_each_way(table, taught, capsys, own_precision):
    table.run(["--students", str(taught / "kept"), str(taught / "tiled")])
    headings, _, line = (row.strip("| \n").split(" | ") for row in capsys.readouterr().out.splitlines())
    assert headings == ["student", "M parameters", "kept patches", "Gaussian noise", "tiled patches"]
    kept, tiled = (ModelRecord.load(taught / shown).rows[1] for shown in ("kept", "tiled"))
    expected = [f"{100 * row.runs[0].top1:.1f} ({row.figures['seconds']:.0f} s)" for row in (kept, tiled)]
    assert line[0] == "tiny-vit, from scratch"
    assert [line[2], line[4]] == expected


def test_a_student_without_a_table_is_refused(table, taught):
    record = ModelRecord.load(taught / "tiled")
    with pytest.raises(UsageError, match="not of a student with a table"):
        table.make_table([record, type(record)(**{**vars(record), "rows": ()})])
