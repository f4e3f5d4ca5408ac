"""Whose a repository on the Hub is: what is somebody else's stays as it is. Over HTTP, against a Hub on loopback."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import HfApi

from smi_hf import UsageError
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import PREVIEW_FILE, RECORD_FILE
from smi_hf.evaluation.record import RESULTS_FILE
from smi_hf.hub import ownership, push, repository, save_model_record


def upload(repo_id: str, files: dict[str, bytes], *, kind: str = "model", revision: str | None = None) -> None:
    """Files that somebody puts into a repository, which is made if it is not there."""
    api = HfApi()
    api.create_repo(repo_id, repo_type=kind, exist_ok=True)
    for name, content in files.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repo_id, repo_type=kind, revision=revision)


def contents(hub, kind: str, repo_id: str) -> dict[str, bytes]:
    there = hub.repo(kind, repo_id)
    return {path: there.read(path) for path in there.tree}


def commits(hub, repo_id: str = "me/set", kind: str = "datasets") -> int:
    """Beside the first, which makes the repository."""
    return len(hub.repo(kind, repo_id).commits) - 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b'{"accuracy": 0.9}', "it has no schema_version"),
        (b'{"schema_version": 1, "accuracy": 0.9}', "results.json is not a record of a compressed model of smi_hf"),
        (b'{"schema_version": "2.1", "results": []}', "has schema version '2.1'"),
        (b"[]", "it has no schema_version"),
        (b"accuracy: 0.9", "it is not valid JSON"),
        (b"\xff\xfe\x00", "it is not valid JSON"),
        (b"[" * 100_000, "it is not valid JSON"),
    ],
)
def test_a_strangers_repository_with_a_file_of_the_records_name_is_left_as_it_is(hub, model_folder, record, message):
    files = {"README.md": b"# Mine", "config.json": b"{}", "pytorch/other.safetensors": b"weights"}
    upload("me/bert", files | {"docs/figure.png": b"PNG", RESULTS_FILE: record})
    before = contents(hub, "models", "me/bert")
    with pytest.raises(UsageError, match="'me/bert' on the Hub is no model of smi_hf") as refusal:
        push(model_folder, "me/bert")
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert "nothing there was changed, so choose another name" in str(refusal.value)
    assert contents(hub, "models", "me/bert") == before


def test_a_record_of_a_newer_smi_hf_is_left_as_it_is(hub, folder, model_folder):
    for kind, source, name in (("dataset", folder, RECORD_FILE), ("model", model_folder, RESULTS_FILE)):
        values = json.loads((source / name).read_text()) | {"schema_version": 99}
        upload(f"me/{kind}", {name: json.dumps(values).encode()}, kind=kind)
        with pytest.raises(UsageError, match=rf"'me/{kind}' on the Hub was made by a newer smi_hf \({name} has"):
            push(source, f"me/{kind}")
        assert commits(hub, f"me/{kind}", f"{kind}s") == 1


def test_a_record_of_a_dataset_makes_no_model_repository_ours(hub, folder, model_folder):
    upload("me/mixed", {RESULTS_FILE: (folder / RECORD_FILE).read_bytes()})
    with pytest.raises(UsageError, match="is no model of smi_hf"):
        push(model_folder, "me/mixed")


def test_the_record_that_counts_is_at_the_root(hub, model_folder):
    upload("me/archive", {f"old/{RESULTS_FILE}": (model_folder / RESULTS_FILE).read_bytes()})
    with pytest.raises(UsageError, match=r"holds 1 files \(old/results.json\) and is no model of smi_hf"):
        push(model_folder, "me/archive")


def test_files_of_others_in_a_repository_of_ours_survive_every_push(hub, folder, model_folder, model_record):
    push(model_folder, "me/student")
    push(folder, "me/set")
    theirs = {"assets/photo.png": b"PNG", "fp32/model.safetensors": b"weights", "model.onnx": b"onnx", "b.png": b"b"}
    upload("me/student", theirs)
    # The last three look like shards, and are none of this set of 6 images.
    shards = {"data/validation.parquet": b"1", "extra/data/mine.parquet": b"2", "data/train-5-3.parquet": b"3"}
    shards |= {"data/train-00000006-00000007.parquet": b"4", "extra/data/train-00000000-00000005.parquet": b"5"}
    upload("me/set", shards | {"assets/preview.png": b"PNG"}, kind="dataset")
    (model_folder / "config.json").write_text((model_folder / "config.json").read_text() + "\n")
    (model_folder / "curves.png").unlink()
    save_model_record(model_record, model_folder)
    record = DatasetRecord.load(folder)
    replace(record, results=record.results | {"pictures": []}).save(folder)
    push(model_folder, "me/student")
    push(folder, "me/set")
    student, dataset = contents(hub, "models", "me/student"), contents(hub, "datasets", "me/set")
    assert theirs.items() <= student.items()
    assert (shards | {"assets/preview.png": b"PNG"}).items() <= dataset.items()
    # And what was ours is replaced or gone.
    assert student["config.json"] == (model_folder / "config.json").read_bytes()
    assert "curves.png" not in student and PREVIEW_FILE not in dataset


def test_a_file_of_others_at_a_path_of_ours_is_no_longer_overwritten(hub, folder, model_folder, model_record):
    (model_folder / "curves.png").rename(model_folder / "else.png")
    save_model_record(model_record, model_folder)
    push(model_folder, "me/student")
    upload("me/student", {"curves.png": b"my own picture"})
    (model_folder / "else.png").rename(model_folder / "curves.png")
    save_model_record(replace(model_record, pictures=("curves.png",)), model_folder)
    with pytest.raises(UsageError, match=r"holds curves.png, which smi_hf did not put there and would overwrite"):
        push(model_folder, "me/student")
    assert contents(hub, "models", "me/student")["curves.png"] == b"my own picture"


def test_a_file_that_comes_while_we_push_is_not_overwritten(hub, model_folder, model_record, monkeypatch):
    push(model_folder, "me/student")
    (model_folder / "generation_config.json").write_text("{}")
    save_model_record(model_record, model_folder)
    looks = []

    def look_into(*arguments):
        looks.append(arguments)
        # Before the fourth look: that of the second attempt to commit.
        if len(looks) == 4:
            upload("me/student", {"generation_config.json": b"somebody else's"})
        return ownership.look_into(*arguments)

    monkeypatch.setattr(repository, "look_into", look_into)
    hub.faults.add(status=412, match="/commit/")
    with pytest.raises(UsageError, match=r"holds generation_config.json, which smi_hf did not put there"):
        push(model_folder, "me/student")
    assert len(looks) == 4
    assert contents(hub, "models", "me/student")["generation_config.json"] == b"somebody else's"


def test_what_belongs_to_the_hub_is_never_deleted(hub, model_folder):
    values = json.loads((model_folder / RESULTS_FILE).read_text())
    push(model_folder, "me/student")
    attributes = contents(hub, "models", "me/student")[".gitattributes"]
    values["files"] |= {".gitattributes": "0" * 64}
    upload("me/other", {RESULTS_FILE: json.dumps(values).encode()})
    with pytest.raises(UsageError, match=r"names the file '.gitattributes'"):
        push(model_folder, "me/other")
    assert contents(hub, "models", "me/other")[".gitattributes"] == attributes


def test_a_repository_that_a_push_of_version_1_filled_is_ours(hub, model_folder):
    values = json.loads((model_folder / RESULTS_FILE).read_text())
    # Its pictures had no digests.
    files = {name: digest for name, digest in values["files"].items() if name != "curves.png"}
    old = values | {"schema_version": 1, "files": files | {"old.onnx": "0" * 64}}
    del old["curves"], old["runtime"], old["num_labels"]
    upload("me/student", {RESULTS_FILE: json.dumps(old).encode(), "curves.png": b"old", "old.onnx": b"old"})
    push(model_folder, "me/student")
    now = contents(hub, "models", "me/student")
    assert now["curves.png"] == (model_folder / "curves.png").read_bytes() and "old.onnx" not in now


def test_the_branch_that_is_pushed_to_says_whose_it_is(hub, model_folder):
    upload("me/both", {"config.json": b"{}"})
    api = HfApi()
    api.create_branch("me/both", branch="ours")
    api.delete_file("config.json", "me/both", revision="ours")
    push(model_folder, "me/both", revision="ours")
    with pytest.raises(UsageError, match=r"holds 1 files \(config.json\) and is no model of smi_hf"):
        push(model_folder, "me/both")
    assert contents(hub, "models", "me/both")["config.json"] == b"{}"


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        (b"---\nlicense: mit\n---\n", False),
        (b"---\r\nlicense: mit\r\n---\r\n\r\n", False),
        (b"---\n---", False),
        (b"", False),
        (b"---\nlicense: mit\n---\n\nWhat I know about it.", True),
        (b"# My notes", True),
        (b"---\nno end", True),
    ],
)
def test_a_new_repository_may_hold_yaml_but_no_text_that_somebody_wrote(hub, model_folder, text, is_kept):
    upload("me/new", {"README.md": text} if text else {})
    if is_kept:
        with pytest.raises(UsageError, match=r"holds a README.md that somebody wrote and is no model of smi_hf"):
            push(model_folder, "me/new")
        assert contents(hub, "models", "me/new")["README.md"] == text
    else:
        push(model_folder, "me/new")
        assert b"smi_hf" in contents(hub, "models", "me/new")["README.md"]


def test_names_on_the_hub_reach_the_terminal_as_text(hub, model_folder):
    upload("me/odd", {"a\x1b[31mred": b"1"})
    with pytest.raises(UsageError, match=r"holds 1 files \(a\[31mred\)"):
        push(model_folder, "me/odd")


def test_the_repository_of_another_purpose_is_left_as_it_is(hub, folder):
    api = HfApi()
    api.create_repo("me/photos", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"a,b", path_in_repo="table.csv", repo_id="me/photos", repo_type="dataset")
    with pytest.raises(
        UsageError, match=r"holds 1 files \(table.csv\) and is no sparse dataset .* choose another name"
    ):
        push(folder, "me/photos")
    assert commits(hub, "me/photos") == 1
