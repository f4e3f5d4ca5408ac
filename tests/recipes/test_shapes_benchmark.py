"""What shapes of images cost: the script, on the tiny model."""

import importlib
import json
from pathlib import Path

import pytest

from smi_hf.environment import missing_packages
from smi_hf.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(monkeypatch, tiny_checkpoint, sparse_folder, photographs, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "benchmarks"))
    script = importlib.import_module("shapes")

    def call(*more: object) -> dict[str, dict]:
        given = ["--model_name_or_path", tiny_checkpoint, "--judge", photographs, "--sparse", sparse_folder]
        given += ["--output", tmp_path / "out" / "shapes.json", "--disable_tqdm", *more]
        script.run(list(map(str, given)))
        return {line["shape"]: line for line in json.loads((tmp_path / "out" / "shapes.json").read_text())}

    return call


@pytest.mark.parametrize(
    "backend",
    ["simulated", pytest.param("onnx", marks=pytest.mark.skipif(bool(missing_packages("onnx")), reason="no onnx"))],
)
def test_every_shape_is_a_row_with_what_it_showed(backend, run, sparse_folder, capsys):
    lines = run("--backend", backend, "--sparse", sparse_folder, sparse_folder, "--controls", "gaussian")
    assert list(lines) == ["float", "kept", "tiled", "filled", "gaussian"]
    # 6 images, of which 5 to 7 of 16 patches are kept: two fit into a tile.
    num_kept = lines["kept"]["tokens"] // 6
    assert {name: line["images"] for name, line in lines.items()} == {
        "float": 0, "kept": 6, "tiled": 3, "filled": 6, "gaussian": 6,
    }  # fmt: skip
    assert 16 // num_kept == 2
    assert lines["tiled"]["tokens"] == 3 * 16 and lines["filled"]["tokens"] == lines["gaussian"]["tokens"] == 6 * 16
    assert all(line["seconds"] > 0 for name, line in lines.items() if name != "float")
    assert len(lines["kept"]["top1"]) == 2 and lines["kept"]["top1"][0] == lines["kept"]["top1"][1]
    printed = capsys.readouterr().out
    assert f"| kept | 6 | {6 * num_kept} |" in printed and "± 0.0" in printed


def test_a_sparse_dataset_is_no_dense_one(run, sparse_folder):
    with pytest.raises(UsageError, match="a dataset of --dense does not keep every patch"):
        run("--backend", "simulated", "--dense", sparse_folder)
