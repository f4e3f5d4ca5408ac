"""What leaves a folder: the files that its record lists, as they were recorded, and nothing from elsewhere."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from smi_hf import UsageError
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import PREVIEW_FILE, RECORD_FILE, STAGES_FILE
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord
from smi_hf.files import file_sha256
from smi_hf.hub import push
from smi_hf.hub.kinds import DATASET, MODEL, kind_of


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("hf_of_somebody")
    return path


def rewrite(folder: Path, name: str, change) -> None:
    values = json.loads((folder / name).read_text())
    change(values)
    (folder / name).write_text(json.dumps(values))


OUTSIDE = ["/some/secret", "../secret", "..", "", ".", "a/b", "a\\b", "C:secret", "\\\\host\\share", "a\0b", "a:b"]


@pytest.mark.parametrize("name", [*OUTSIDE, "a\nb", "a\x1b[31m", "\u202ea", "a.", "a "])
@pytest.mark.parametrize("field", ["files", "pictures"])
def test_a_name_that_leads_out_of_the_folder_is_refused(hub, model_folder, secret, field, name):
    name = name.replace("/some/secret", str(secret))

    def add(values):
        if field == "files":
            values["files"][name] = file_sha256(secret)
        else:
            values["pictures"].append(name)

    rewrite(model_folder, RESULTS_FILE, add)
    with pytest.raises(UsageError, match="no plain name of a file beside it"):
        push(model_folder, "me/student")
    assert not hub.requests


@pytest.mark.parametrize(
    "name", ["README.md", "readme.MD", "results.json", ".gitattributes", "CONFIG.json", "Model.safetensors"]
)
def test_a_name_that_some_systems_take_for_another_files_is_refused(hub, model_folder, name):
    rewrite(model_folder, RESULTS_FILE, lambda values: values["files"].update({name: "0" * 64}))
    with pytest.raises(UsageError, match="which another file of the folder has as its name"):
        push(model_folder, "me/student")
    assert not hub.requests


def test_names_that_differ_by_unicode_alone_are_refused(hub, model_folder):
    names = {"caf\u00e9.json": "0" * 64, "cafe\u0301.json": "1" * 64}
    rewrite(model_folder, RESULTS_FILE, lambda values: values["files"].update(names))
    with pytest.raises(UsageError, match="which another file of the folder has as its name"):
        push(model_folder, "me/student")


@pytest.mark.parametrize("name", ["curves.png", "config.json", RESULTS_FILE])
def test_a_link_in_a_model_folder_is_refused(hub, model_folder, secret, name):
    # Its content is what the record says, so that the link alone is wrong.
    secret.write_bytes((model_folder / name).read_bytes())
    (model_folder / name).unlink()
    (model_folder / name).symlink_to(secret)
    with pytest.raises(
        UsageError, match=rf"{name} is a link, or lies behind one, and only files of the folder itself"
    ):
        push(model_folder, "me/student")
    assert not hub.requests


@pytest.mark.parametrize("name", [PREVIEW_FILE, STAGES_FILE, RECORD_FILE, "data"])
def test_a_link_in_a_dataset_folder_is_refused(hub, folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"is a link|is no folder with shards"):
        push(folder, "me/set")
    assert not hub.requests


def test_a_shard_that_is_a_link_is_refused(hub, folder, tmp_path):
    (shard,) = (folder / "data").glob("*.parquet")
    shard.rename(tmp_path / "elsewhere.parquet")
    shard.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(UsageError, match=r"parquet is a link"):
        push(folder, "me/set")
    assert not hub.requests


def test_a_folder_that_is_itself_a_link_is_pushed(hub, folder, model_folder, tmp_path):
    for source, repo_id in ((folder, "me/set"), (model_folder, "me/student")):
        (tmp_path / "link").symlink_to(source)
        assert push(tmp_path / "link", repo_id)
        (tmp_path / "link").unlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_regular_file_is_refused_and_not_waited_for(hub, folder, model_folder):
    for path in (folder / PREVIEW_FILE, model_folder / "curves.png"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(UsageError, match=rf"{path.name} is no regular file"):
            push(path.parent, "me/set")
    assert not hub.requests


@pytest.mark.parametrize("name", ["curves.png", "config.json"])
def test_a_file_of_a_model_that_was_changed_or_is_gone_is_refused(hub, model_folder, name):
    (model_folder / name).write_bytes((model_folder / name).read_bytes() + b"\n")
    with pytest.raises(UsageError, match=rf"{name} was changed since, and results.json is the record of the model"):
        push(model_folder, "me/student")
    (model_folder / name).unlink()
    with pytest.raises(UsageError, match=rf"{name} is gone"):
        push(model_folder, "me/student")
    assert not hub.requests


@pytest.mark.parametrize("name", [PREVIEW_FILE, STAGES_FILE])
def test_a_picture_of_a_dataset_that_was_changed_or_is_gone_is_refused(hub, folder, secret, name):
    (folder / name).write_bytes(secret.read_bytes())
    with pytest.raises(UsageError, match=rf"{name} was changed since, and smi.json is the record of the dataset"):
        push(folder, "me/set")
    (folder / name).unlink()
    with pytest.raises(UsageError, match=rf"{name} is gone"):
        push(folder, "me/set")
    assert not hub.requests


def test_a_dataset_whose_shards_are_gone_is_refused(hub, folder):
    (shard,) = (folder / "data").glob("*.parquet")
    shard.unlink()
    with pytest.raises(UsageError, match=r"are not those that smi.json was written for"):
        push(folder, "me/set")
    (folder / "data").rmdir()
    with pytest.raises(UsageError, match="is no folder with shards"):
        push(folder, "me/set")


def test_pictures_without_a_digest_are_left_out_of_publication_record_and_card(hub, folder, model_folder, caplog):
    rewrite(folder, RECORD_FILE, lambda values: values["results"].pop("picture_sha256"))

    def as_version_1(values):
        values["schema_version"] = 1
        del values["files"]["curves.png"], values["curves"], values["runtime"], values["num_labels"]

    rewrite(model_folder, RESULTS_FILE, as_version_1)
    push(folder, "me/set")
    push(model_folder, "me/student")
    dataset, student = hub.repo("datasets", "me/set"), hub.repo("models", "me/student")
    assert not [path for path in (*dataset.tree, *student.tree) if path.endswith(".png")]
    assert ".png" not in dataset.read("README.md").decode() + student.read("README.md").decode()
    assert DatasetRecord.from_json(dataset.read(RECORD_FILE).decode(), "it").results["pictures"] == []
    assert ModelRecord.from_json(student.read(RESULTS_FILE).decode(), "it").pictures == ()
    said = [record.getMessage() for record in caplog.records if record.name == "smi_hf.hub.kinds"]
    assert said == [
        f"not published, as smi.json has no digest of it: {PREVIEW_FILE}, {STAGES_FILE}",
        "not published, as results.json has no digest of it: curves.png",
    ]


def test_a_picture_that_the_record_does_not_list_is_not_published(hub, folder):
    def forget(values):
        values["results"] |= {"pictures": [], "picture_sha256": {}}

    rewrite(folder, RECORD_FILE, forget)
    push(folder, "me/set")
    assert not [path for path in hub.repo("datasets", "me/set").tree if path.endswith(".png")]


@pytest.mark.parametrize("listed", ["preview.png", ["/etc/hostname"], ["../x"], [3], {"preview.png": 1}])
def test_what_a_dataset_record_lists_as_pictures_without_being_any_is_refused(hub, folder, listed):
    rewrite(folder, RECORD_FILE, lambda values: values["results"].update(pictures=listed))
    with pytest.raises(UsageError, match=r"smi.json is not a record of a sparse dataset: .*pictures"):
        push(folder, "me/set")
    assert not hub.requests


def test_a_record_lists_exactly_its_files(folder, model_folder):
    dataset, model = DatasetRecord.load(folder), ModelRecord.load(model_folder)
    ours = ["data/train-00000000-00000005.parquet", "data/train-00000002-00000003.parquet", PREVIEW_FILE, STAGES_FILE]
    assert all(DATASET.lists(dataset, path) for path in ours)
    theirs = ["data/train-0-5.parquet", "data/train-5-3.parquet", "data/train-00000005-00000003.parquet"]
    theirs += ["data/train-00000000-00000006.parquet", "data/train-00000006-00000007.parquet", "data/other.parquet"]
    theirs += ["train-00000000-00000005.parquet", "x/data/train-00000000-00000005.parquet", f"data/{PREVIEW_FILE}"]
    theirs += ["data/train-0000000\u0660-00000005.parquet", "data/x/train-00000000-00000005.parquet", "smi.json.png"]
    assert not any(DATASET.lists(dataset, path) for path in theirs)
    assert not DATASET.lists(replace(dataset, settings={}), ours[0])
    assert all(MODEL.lists(model, path) for path in ("config.json", "model.safetensors", "curves.png"))
    assert not any(MODEL.lists(model, path) for path in ("a/config.json", "model.onnx", "LICENSE", "data/curves.png"))


def test_a_folder_is_what_its_record_says(folder, model_folder, tmp_path):
    assert (kind_of(folder), kind_of(model_folder)) == (DATASET, MODEL)
    with pytest.raises(UsageError, match="holds nothing to push; give a folder that smi-hf invert"):
        kind_of(tmp_path)


def test_a_report_is_not_published(folder, model_folder):
    for each, kind in ((folder, DATASET), (model_folder, MODEL)):
        (each / "report.html").write_text("<!doctype html>")
        _, files = kind.collect(each)
        assert files and "report.html" not in files
