"""What a step costs students of several kinds: a line for each, and whole images cost more than kept patches."""

import importlib
from pathlib import Path

import pytest

from smi_hf import UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cost(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "students"))
    return importlib.import_module("cost")


def test_each_student_has_a_line_of_its_times(cost, tiny_checkpoint, resnet_checkpoint, sparse_folder, capsys):
    cost.run(list(map(str, [tiny_checkpoint, sparse_folder, tiny_checkpoint, resnet_checkpoint])))
    _, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines())
    assert [line[0] for line in lines] == ["tiny-vit", "tiny-resnet"]
    assert all(float(number) > 0 for line in lines for number in line[1:])


def test_a_call_without_students_is_refused(cost):
    with pytest.raises(UsageError, match="give a teacher, its sparse dataset, and folders of students"):
        cost.run(["teacher", "dataset"])
