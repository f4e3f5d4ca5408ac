"""What a step costs students of several kinds: a line for each."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cost(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "students"))
    return importlib.import_module("cost")


def test_each_student_has_a_line_of_its_times(cost, tiny_checkpoint, resnet_checkpoint, sparse_folder, capsys):
    given = [
        "--teacher",
        tiny_checkpoint,
        "--dataset",
        sparse_folder,
        "--students",
        tiny_checkpoint,
        resnet_checkpoint,
    ]
    cost.run(list(map(str, given)))
    _, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines())
    assert [line[0] for line in lines] == ["tiny-vit", "tiny-resnet"]
    assert all(float(number) > 0 for line in lines for number in line[1:])
