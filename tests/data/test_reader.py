"""Loading sparse datasets, from a folder, as a stream or from a Hub: what is there, and what is refused."""

import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import IterableDataset, load_dataset
from huggingface_hub import HfApi
from torch.utils.data import DataLoader

from smi_hf import UsageError, concatenate, load_sparse_dataset
from smi_hf.data.schema import RECORD_FILE
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.hub import push
from smi_hf.images.kept import sparse_images


def test_the_collator_gives_normalised_pixels_and_tensors(dataset_folder, images):
    sparse = load_sparse_dataset(dataset_folder)
    batch = sparse.collate([sparse.dataset[0], sparse.dataset[1]])
    assert batch["pixel_values"].shape == (2, 3, 16, 24)
    assert batch["pixel_values"].dtype == torch.float32
    assert batch["kept_patches"].dtype == batch["labels"].dtype == torch.int64
    expected = torch.from_numpy(images(0).patches_BKCPQ).float() / 255 * 2 - 1
    assert torch.allclose(sparse.record.grid.cut(batch["pixel_values"], batch["kept_patches"]), expected, atol=1e-6)


def test_another_dataset_in_a_folder_of_the_same_name_is_not_read_from_the_cache(
    dataset_folder, record, images, tmp_path
):
    """`datasets` caches local folders by name and card; our card tells them apart."""
    from smi_hf.hub.cards.dataset import save_card

    first = load_dataset(str(dataset_folder), split="train")[0]
    folder = tmp_path / "elsewhere" / "dataset"
    writer = SparseDatasetWriter(folder, record)
    writer.open()
    writer.write(images(0, count=4))
    results = {"target_top1": 1.0, "mean_target_probability": 0.5, "content_sha256": writer.content_sha256()}
    save_card(record.completed(results), folder)
    assert load_dataset(str(folder), split="train")[0]["kept_patches"] is not None
    assert load_dataset(str(folder), split="train")[3]["kept_patches"] == images(0, count=4).kept_BK[3].tolist()
    assert load_dataset(str(dataset_folder), split="train")[0] == first


def test_an_incomplete_dataset_is_refused(record, images, tmp_path):
    writer = SparseDatasetWriter(tmp_path / "dataset", record)
    writer.open()
    writer.write(images(0))
    with pytest.raises(UsageError, match="is not complete: its run was interrupted"):
        load_sparse_dataset(tmp_path / "dataset")


def test_a_folder_without_a_record_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is not a sparse dataset: it has no smi\.json"):
        load_sparse_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", r"smi.json is not a record of a sparse dataset: it is not valid JSON"),
        ("[]", "smi.json is not a record of a sparse dataset: it has no schema_version"),
        ('{"schema_version": 99}', "has schema version 99, but this smi_hf reads versions 1 to 2"),
        ('{"schema_version": 1}', "smi.json is not a record of a sparse dataset: teacher: Field required"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused(dataset_folder, text, message):
    (dataset_folder / "smi.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_sparse_dataset(dataset_folder)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_truncated_shard_is_refused(dataset_folder, streaming):
    shard = sorted((dataset_folder / "data").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-50])
    message = rf"dataset \S+ cannot be read: shard {shard.name} is damaged \(.+\); run the same smi-hf invert again"
    with pytest.raises(UsageError, match=message) as caught:
        load_sparse_dataset(dataset_folder, streaming=streaming)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_missing_shard_is_noticed(dataset_folder, streaming):
    shards = sorted((dataset_folder / "data").iterdir())
    shards[0].unlink()
    with pytest.raises(UsageError, match=r"the dataset has 2 images, but its smi\.json promises 4"):
        load_sparse_dataset(dataset_folder, streaming=streaming)
    shards[1].unlink()
    with pytest.raises(UsageError, match="it has no shard in data/"):
        load_sparse_dataset(dataset_folder, streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_foreign_parquet_in_the_place_of_a_shard_is_refused_in_one_line(dataset_folder, streaming):
    for shard in (dataset_folder / "data").iterdir():
        pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"]}), shard)
    with pytest.raises(UsageError, match="lacks the column 'image' of a sparse dataset; it has text"):
        load_sparse_dataset(dataset_folder, streaming=streaming)


def test_a_foreign_parquet_beside_a_shard_is_refused_in_one_line(dataset_folder):
    shard = sorted((dataset_folder / "data").iterdir())[1]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"]}), shard)
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load_sparse_dataset(dataset_folder)
    assert "\n" not in str(caught.value)


def rewrite(folder, image_index, **changes):
    """Changes values of one image in its shard."""
    for shard in (folder / "data").iterdir():
        table = pyarrow.parquet.read_table(shard)
        rows = [row | changes if row["image_index"] == image_index else row for row in table.to_pylist()]
        pyarrow.parquet.write_table(type(table).from_pylist(rows, schema=table.schema), shard)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stream_gives_the_batches_of_the_dataset(dataset_folder, num_workers):
    streamed, loaded = load_sparse_dataset(dataset_folder, streaming=True), load_sparse_dataset(dataset_folder)
    assert isinstance(streamed.dataset, IterableDataset)
    assert streamed.is_streamed
    assert not loaded.is_streamed
    assert len(streamed) == len(loaded) == 4
    loader = DataLoader(streamed.dataset, batch_size=2, num_workers=num_workers, collate_fn=streamed.collate)
    # Twice: a stream can be passed again. With workers, one shard each.
    for batches in (list(loader), list(loader)):
        assert len(batches) == 2
        for number, batch in enumerate(batches):
            expected = loaded.batch([2 * number, 2 * number + 1])
            assert all(torch.equal(batch[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kept_patches": [0, 6, 1]}, "image 3 keeps patch 6, but the grid has patches 0 to 5"),
        ({"label": 3}, "image 3 has label 3, but the teacher has labels 0 to 2"),
        ({"image": {"bytes": b"GIF89a", "path": None}}, "image 3 is no PNG"),
    ],
)
def test_a_row_that_cannot_be_is_named_when_its_block_is_met(dataset_folder, changes, message, monkeypatch):
    monkeypatch.setattr("smi_hf.data.reader._STREAMED_ROWS", 2)
    rewrite(dataset_folder, 3, **changes)
    streamed = load_sparse_dataset(dataset_folder, streaming=True)
    rows = iter(streamed.dataset)
    assert [next(rows)["image_index"] for _ in range(2)] == [0, 1]
    with pytest.raises(UsageError, match=message):
        list(rows)


def test_whether_it_fits_the_model_is_known_at_once(dataset_folder, teacher):
    with pytest.raises(UsageError, match="images of 16x24 px in patches of 8x8 px, but the model has images of 32x32"):
        load_sparse_dataset(dataset_folder, streaming=True, teacher=teacher)


def test_what_needs_images_by_number_says_so(dataset_folder):
    streamed = load_sparse_dataset(dataset_folder, streaming=True)
    for needs in (
        lambda: streamed.first(2),
        lambda: streamed.batch([0]),
        lambda: concatenate([streamed]),
        lambda: sparse_images(streamed),
    ):
        with pytest.raises(UsageError, match="needs images by number, and this dataset is streamed"):
            needs()


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
    with pytest.raises(
        UsageError, match="schema version 99, but this smi_hf reads versions 1 to 2; install the smi_hf"
    ):
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
