"""Loading sparse datasets from a Hub on loopback: what is there, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.data.schema import RECORD_FILE
from smi_hf.hub import push


@pytest.fixture
def pushed(hub, sparse_folder):
    push(sparse_folder, "me/set")
    return hub


def replace_on_hub(name: str, content: bytes) -> None:
    HfApi().upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="me/set", repo_type="dataset")


def change_record(folder: Path, **changes) -> bytes:
    return json.dumps(json.loads((folder / RECORD_FILE).read_text()) | changes).encode()


def test_what_is_loaded_from_the_hub_is_what_lies_in_the_folder(pushed, sparse_folder, teacher):
    local, remote = load_sparse_dataset(sparse_folder), load_sparse_dataset("me/set", teacher=teacher)
    assert (remote.name, remote.revision) == ("me/set", pushed.repo("datasets", "me/set").head.oid)
    for key, value in local.batch(range(6)).items():
        assert torch.equal(remote.batch(range(6))[key], value)


def test_a_stream_gives_the_same_rows_and_downloads_no_whole_copy(pushed, sparse_folder, teacher):
    local, streamed = (
        load_sparse_dataset(sparse_folder),
        load_sparse_dataset("me/set", teacher=teacher, streaming=True),
    )
    assert len(streamed) == 6 and streamed.is_streamed
    batch = streamed.collate(list(streamed.dataset))
    for key, value in local.batch(range(6)).items():
        assert torch.equal(batch[key], value)


def test_rows_and_record_are_of_one_commit_though_another_push_comes_in_between(pushed, sparse_folder, monkeypatch):
    import datasets

    stock = datasets.load_dataset

    def push_first(*arguments, **options):
        replace_on_hub("README.md", b"---\nconfigs: []\n---\nnothing here\n")
        monkeypatch.setattr(datasets, "load_dataset", stock)
        return stock(*arguments, **options)

    monkeypatch.setattr(datasets, "load_dataset", push_first)
    before = pushed.repo("datasets", "me/set").head.oid
    loaded = load_sparse_dataset("me/set")
    assert loaded.revision == before != pushed.repo("datasets", "me/set").head.oid and len(loaded) == 6


@pytest.mark.parametrize(
    ("repo_id", "revision", "message"),
    [
        ("me/nothing", None, "'me/nothing' is neither a folder here nor a dataset on the Hub that you may see; check"),
        ("me/model", None, "there is a model of this name, but a sparse dataset is needed"),
        ("me/photos", None, "'me/photos' is not a sparse dataset: it has no smi.json"),
        ("me/set", "v9", "'me/set' has no revision 'v9' on the Hub"),
        ("me/a b", None, "'me/a b' is neither a folder here nor on the Hub: Repo id must use"),
    ],
)
def test_what_is_no_sparse_dataset_is_refused_in_one_sentence(repo_id, revision, message, pushed):
    HfApi().create_repo("me/model")
    HfApi().create_repo("me/photos", repo_type="dataset")
    with pytest.raises(UsageError, match=message) as refusal:
        load_sparse_dataset(repo_id, revision=revision)
    assert "\n" not in str(refusal.value)


def test_a_private_dataset_is_refused_to_others(hub, sparse_folder, monkeypatch):
    push(sparse_folder, "me/set", private=True)
    monkeypatch.setenv("HF_TOKEN", hub.add_user("stranger"))
    with pytest.raises(UsageError, match="that you may see; check the name, and log in with `hf auth login`"):
        load_sparse_dataset("me/set")


def test_a_record_of_another_schema_version_is_refused(pushed, sparse_folder):
    replace_on_hub(RECORD_FILE, change_record(sparse_folder, schema_version=99))
    with pytest.raises(UsageError, match="schema version 99, but this smi_hf reads version 1; install the smi_hf"):
        load_sparse_dataset("me/set")


def test_a_dataset_that_is_not_complete_is_refused(pushed, sparse_folder):
    replace_on_hub(RECORD_FILE, change_record(sparse_folder, status="running"))
    with pytest.raises(UsageError, match="dataset me/set is not complete"):
        load_sparse_dataset("me/set")


def test_a_truncated_shard_on_the_hub_is_refused(pushed, sparse_folder):
    (shard,) = (sparse_folder / "data").glob("*.parquet")
    replace_on_hub(f"data/{shard.name}", shard.read_bytes()[:-100])
    with pytest.raises(UsageError, match="dataset me/set cannot be read: ") as refusal:
        load_sparse_dataset("me/set")
    assert "\n" not in str(refusal.value)


def test_a_shard_too_many_on_the_hub_is_noticed(pushed, sparse_folder, tmp_path):
    (shard,) = (sparse_folder / "data").glob("*.parquet")
    shutil.copy(shard, tmp_path / "copy.parquet")
    replace_on_hub("data/train-00000006-00000011.parquet", (tmp_path / "copy.parquet").read_bytes())
    with pytest.raises(UsageError, match=r"dataset me/set cannot be read: .*num_examples=12"):
        load_sparse_dataset("me/set")


def test_a_model_of_other_labels_is_refused(pushed, teacher):
    teacher.model.config.id2label = {label: str(label) for label in range(7)}
    teacher.model.config.label2id = {str(label): label for label in range(7)}
    with pytest.raises(UsageError, match="the dataset has 5 labels, but the model has 7"):
        load_sparse_dataset("me/set", teacher=teacher)
