"""The record of exported images: what is in it, and what is refused when it is read."""

import hashlib
import json

import pytest

from smi_hf import ExportConfig, UsageError, export_images, load_sparse_dataset
from smi_hf.images.manifest import ExportManifest


@pytest.fixture
def folder(sparse_folder, tmp_path):
    dataset = load_sparse_dataset(sparse_folder)
    export_images(dataset, tmp_path / "x", ExportConfig("raw", num_images=3, input_name="x", disable_tqdm=True))
    return tmp_path / "x"


def test_the_manifest_says_what_the_records_of_dataset_and_export_say(folder, sparse_folder):
    manifest, record = ExportManifest.load(folder), load_sparse_dataset(sparse_folder).record
    assert (manifest.format, manifest.shape, manifest.values, manifest.layout) == (
        "raw",
        "tiled",
        "normalized",
        "NHWC",
    )
    assert (manifest.num_images, manifest.image_size, manifest.input_name) == (2, (32, 32), "x")
    assert manifest.teacher == record.teacher
    assert (manifest.image_mean, manifest.image_std) == (record.image_mean, record.image_std)
    assert (manifest.dataset.name, manifest.dataset.num_images) == ("set", 3)
    assert manifest.dataset.num_kept == record.keep_counts[-1]
    assert manifest.dataset.content_sha256 == record.results["content_sha256"] is not None


def test_every_file_but_the_manifest_is_listed_with_its_digest(folder):
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(files) == {"input_list.txt", "raw/000000.raw", "raw/000001.raw", "manifest.json"}
    expected = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    del expected["manifest.json"]
    assert ExportManifest.load(folder).files == expected


def test_no_path_of_this_machine_is_in_the_folder(folder, sparse_folder, tmp_path):
    for path in (folder / "manifest.json", folder / "input_list.txt"):
        assert str(tmp_path) not in path.read_text() and str(sparse_folder.parent) not in path.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": "float16"}, "values is 'float16', and none of normalized, uint8"),
        ({"layout": "CHWN"}, "layout is 'CHWN', and none of NCHW, NHWC"),
        ({"files": {"../x": "0"}}, r"it names the file '\.\./x', which is not in its folder"),
        ({"files": {"/x": "0"}}, "it names the file '/x', which is not in its folder"),
        ({"num_images": "2"}, "num_images: Input should be a valid integer"),
        ({"schema_version": 3}, "has schema version 3, but this smi_hf reads versions 1 to 2"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(folder, change, message):
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(values | change))
    with pytest.raises(UsageError, match=message):
        ExportManifest.load(folder)


def test_a_folder_without_one_is_no_export(tmp_path):
    with pytest.raises(UsageError, match=r"it has no manifest\.json; make one with smi-hf export-images"):
        ExportManifest.load(tmp_path)
