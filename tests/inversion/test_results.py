"""What is measured of a finished dataset is what lies on disk."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from smi_hf.data import DatasetRecord
from smi_hf.data.captions import in_percent
from smi_hf.data.parquet import open_parquet
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.images.preview import image_grid
from smi_hf.inversion.results import measure_images, save_pictures


@pytest.fixture
def finished(sparse_folder, tmp_path):
    """The writer of a copy of a finished dataset of six images."""
    folder = Path(shutil.copytree(sparse_folder, tmp_path / "set"))
    return SparseDatasetWriter(folder, DatasetRecord.load(folder))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_figures_are_those_of_the_run_whatever_the_batch(finished, teacher, batch_size):
    measured = measure_images(finished, teacher, batch_size=batch_size)
    recorded = finished.record.results
    assert measured == {name: recorded[name] for name in measured}
    assert {"target_top1", "mean_target_probability", "content_sha256", "num_bytes"} <= measured.keys()


def test_another_teacher_sees_something_else_in_the_same_images(finished, teacher):
    before = measure_images(finished, teacher, batch_size=4)
    # Sees the first label in everything.
    teacher.model.model.classifier.bias.data[0] += 1e4
    after = measure_images(finished, teacher, batch_size=4)
    rows = [row["label"] for row in _labels(finished)]
    assert after["target_top1"] == pytest.approx(rows.count(0) / 6, abs=1e-4)
    assert after | {"target_top1": None} == before | {"target_top1": None}


def _labels(writer):
    from smi_hf.data.parquet import read_table

    return [row for path in writer.shards() for row in read_table(path).select(["label"]).to_pylist()]


def test_pictures_that_are_listed_are_those_that_are_there(finished):
    for name in ("preview.png", "preview_stages.png"):
        (finished.folder / name).unlink()
    assert save_pictures(finished, 0) == []
    assert save_pictures(finished, 3) == ["preview.png"]
    one_row = Image.open(finished.folder / "preview.png").size
    (finished.folder / "preview_stages.png").write_bytes(b"drawn while the run went on")
    assert save_pictures(finished, 100) == ["preview.png", "preview_stages.png"]
    # Three in a row, then all six that there are: images of 32 pixels, shown four times as large, and three lines.
    two_rows = Image.open(finished.folder / "preview.png").size
    assert (two_rows[0] - one_row[0], two_rows[1] - one_row[1]) == (0, 128 + 3 * 20 + 12)


def test_a_preview_says_the_label_the_probability_and_the_share_of_patches(finished, monkeypatch):
    from smi_hf.inversion import results

    told = []
    monkeypatch.setattr(
        results, "image_grid", lambda images, captions, **more: told.extend(captions) or image_grid(images, captions)
    )
    save_pictures(finished, 2)
    row = next(iter(open_parquet(finished.shards(), streaming=True)))
    assert [line.text for line in told[0]] == [
        finished.record.label_names[row["label"]],
        f"teacher: {in_percent(row['target_probability'])}",
        f"kept: {in_percent(len(row['kept_patches']) / 16)}",
    ]
    assert len(told) == 2
