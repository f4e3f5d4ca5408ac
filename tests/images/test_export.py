"""Exports: whole or not there, over nothing that is there, and refused before a file is written."""

import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from smi_hf import ExportConfig, RunError, UsageError, concatenate, export_images, load_sparse_dataset
from smi_hf.images.formats.base import FORMATS, register_format
from smi_hf.images.manifest import ExportManifest


@pytest.fixture
def dataset(sparse_folder):
    return load_sparse_dataset(sparse_folder)


def with_images(dataset, change):
    """The dataset with the file of each image as `change` makes it of its number and bytes; not validated."""
    rows = dataset.dataset.with_format("arrow")[:].to_pylist()
    for number, row in enumerate(rows):
        row["image"]["bytes"] = change(number, row["image"]["bytes"])
    from datasets import Dataset

    return replace(dataset, dataset=Dataset.from_list(rows, features=dataset.dataset.features))


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", [name for name in FORMATS.names() if FORMATS.get(name).extra is None])
@pytest.mark.parametrize("shape", ["tiled", "filled"])
def test_what_is_returned_is_what_lies_in_the_folder(name, shape, dataset, tmp_path):
    manifest = export_images(dataset, tmp_path / "x", ExportConfig(name, shape, disable_tqdm=True))
    assert manifest == ExportManifest.load(tmp_path / "x")
    assert manifest.num_images == len(dataset.calibration_samples(shape))
    assert (manifest.values, manifest.layout) == FORMATS.get(name).kinds[0]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_two_exports_are_alike_byte_for_byte(dataset, tmp_path):
    first, second = (
        export_images(dataset, tmp_path / name, ExportConfig("imagefolder", disable_tqdm=True)) for name in "ab"
    )
    assert first == second


def test_a_concatenated_dataset_is_exported_as_well(dataset, tmp_path):
    union = concatenate([dataset.first(2), replace(dataset, dataset=dataset.dataset.select([4]))])
    manifest = export_images(union, tmp_path / "x", ExportConfig("npy", "filled", disable_tqdm=True))
    assert (manifest.num_images, manifest.dataset.name) == (3, "set + set")
    seen = np.load(tmp_path / "x" / "images.npy").transpose(0, 3, 1, 2)
    assert np.array_equal(seen, dataset.batch([0, 1, 4])["pixel_values"].numpy())


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (png(Image.new("RGB", (40, 32))), "image 5 has 32x40 px, but the dataset's record says 32x32 px"),
        (png(Image.new("RGBA", (32, 32))), r"image 5 has 4 channels \(RGBA\), but the model takes 3"),
        (png(Image.new("L", (32, 32))), r"image 5 has 1 channel \(L\), but the model takes 3"),
        (b"no image", "image 5 is no PNG"),
    ],
)
@pytest.mark.parametrize("name", ["npy", "raw"])
def test_images_that_do_not_go_together_are_refused_before_a_file_is_written(name, last, message, dataset, tmp_path):
    mixed, written = with_images(dataset, lambda number, data: last if number == 5 else data), []
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("smi_hf.images.export.folder_made_whole", written.append)
        with pytest.raises(UsageError, match=message):
            export_images(mixed, tmp_path / "x", ExportConfig(name, disable_tqdm=True))
    assert not written and not list(tmp_path.iterdir())


def test_an_export_that_fails_on_the_way_leaves_nothing(dataset, tmp_path):
    # Its header is that of a good image, and its pixels cannot be read: seen when the others are written.
    damaged = with_images(dataset, lambda number, data: data if number < 5 else data[:200] + bytes(100) + data[300:])
    with pytest.raises(UsageError, match="image 5 cannot be decoded"):
        export_images(damaged, tmp_path / "x", ExportConfig("raw", "filled", disable_tqdm=True))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stuck(monkeypatch):
    """A format that writes a part of its files, and then what is asked for happens."""
    monkeypatch.setattr(FORMATS, "_entries", dict(FORMATS._entries))

    def register(happens):
        @register_format("stuck", "half", kinds=[("uint8", "NHWC")])
        def write(inputs, folder):
            (folder / "half").write_bytes(next(inputs.images).pixels.tobytes())
            happens()

    return register


@pytest.mark.parametrize(
    ("raised", "error", "message"),
    [
        (KeyboardInterrupt("now"), KeyboardInterrupt, "now"),
        (OSError(28, "No space left on device"), RunError, "no space left to write in .*x; make room"),
    ],
)
def test_an_interrupted_export_or_a_full_disk_leaves_nothing(stuck, raised, error, message, dataset, tmp_path):
    def happen():
        raise raised

    stuck(happen)
    with pytest.raises(error, match=message):
        export_images(dataset, tmp_path / "x", ExportConfig("stuck", disable_tqdm=True))
    assert not list(tmp_path.iterdir())


_KILLED = """
import os, signal, sys
from smi_hf import ExportConfig, export_images, load_sparse_dataset
from smi_hf.images.formats.base import register_format

@register_format("stuck", "half", kinds=[("uint8", "NHWC")])
def write(inputs, folder):
    (folder / "half").write_bytes(next(inputs.images).pixels.tobytes())
    os.kill(os.getpid(), signal.SIGKILL)

export_images(load_sparse_dataset(sys.argv[1]), sys.argv[2], ExportConfig("stuck", disable_tqdm=True))
"""


def test_a_killed_export_leaves_no_folder_and_the_next_one_cleans_up(
    dataset, sparse_folder, tmp_path, subprocess_environment
):
    run = subprocess.run([sys.executable, "-c", _KILLED, sparse_folder, tmp_path / "x"], env=subprocess_environment)
    assert run.returncode == -signal.SIGKILL
    left = list(tmp_path.rglob("half"))
    assert left and not (tmp_path / "x").exists()
    export_images(dataset, tmp_path / "x", ExportConfig("npy", disable_tqdm=True))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["folder", "file", "link", "export"])
def test_nothing_that_is_there_is_written_over(kind, dataset, tmp_path):
    target = tmp_path / "x"
    if kind == "folder":
        target.mkdir()
        (target / "mine").write_text("mine")
    elif kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        export_images(dataset, target, ExportConfig("npy", disable_tqdm=True))
    before = {path: os.lstat(path).st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(UsageError, match=r"output_dir .*x exists; choose another folder"):
        export_images(dataset, target, ExportConfig("raw", disable_tqdm=True))
    assert {path: os.lstat(path).st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "nyp"}, "there is no format 'nyp' (did you mean 'npz'?); available: imagefolder, npy, npz"),
        ({"shape": "kept"}, "there is no shape of whole images 'kept'; available: tiled, filled, dense"),
        (
            {"values": "uint16"},
            "no kind of values 'uint16' (did you mean 'uint8'?); available: normalized, uint8",
        ),
        ({"layout": "HWC"}, "there is no layout 'HWC'"),
        ({"format": "imagefolder", "values": "normalized"}, "format 'imagefolder' cannot hold normalized"),
        ({"num_images": 0}, "num_images must be at least 1, but 0 was given"),
        ({"input_name": "x"}, "format 'npy' does not name the model's input; leave out input_name"),
        ({"format": "raw", "input_name": ""}, "input_name must be one word of at most 255 bytes without ':=', but ''"),
        ({"format": "raw", "input_name": "a b"}, "but 'a b' was given"),
        ({"format": "raw", "input_name": "a:=b"}, "but 'a:=b' was given"),
        ({"format": "npz", "input_name": "a\nb"}, "input_name must be one word"),
        ({"format": "npz", "input_name": "ä" * 200}, "input_name must be one word of at most 255 bytes"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        ExportConfig(**{"format": "npy", **options})


def test_more_images_than_there_are_and_dense_ones_of_a_sparse_set_are_refused(dataset, tmp_path):
    with pytest.raises(UsageError, match="num_images is 7, but the dataset has 6 images"):
        export_images(dataset, tmp_path / "x", ExportConfig("npy", num_images=7))
    with pytest.raises(UsageError, match="but shape 'dense' is for one that keeps every patch"):
        export_images(dataset, tmp_path / "x", ExportConfig("npy", "dense"))
    assert not list(tmp_path.iterdir())


def test_a_bar_shows_how_far_it_is_unless_it_is_not_wanted(dataset, tmp_path, capsys):
    export_images(dataset, tmp_path / "a", ExportConfig("npy"))
    assert "Exporting: 100%" in capsys.readouterr().err
    export_images(dataset, tmp_path / "b", ExportConfig("npy", disable_tqdm=True))
    assert capsys.readouterr().err == ""
