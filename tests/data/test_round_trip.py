import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import ClassLabel, load_dataset

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.data.schema import distinct_names
from smi_hf.data.writer import SparseDatasetWriter


def test_every_pixel_label_and_kept_patch_is_read_back_bit_by_bit(dataset_folder, record, images):
    dataset = load_dataset(str(dataset_folder), split="train")
    assert dataset["image_index"][:] == [0, 1, 2, 3]
    for first in (0, 2):
        written = images(first)
        for offset in range(2):
            row = dataset[first + offset]
            assert row["kept_patches"] == written.kept_BK[offset].tolist()
            assert (row["label"], row["seed"], row["steps"]) == (written.labels[offset], 7, 10)
            assert row["target_probability"] == pytest.approx(written.target_probability_B[offset], abs=1e-7)
            pixels = torch.from_numpy(np.array(row["image"])).permute(2, 0, 1)[None]
            kept = torch.from_numpy(written.kept_BK[offset])[None]
            assert np.array_equal(record.grid.cut(pixels, kept)[0].numpy(), written.patches_BKCPQ[offset])


def test_labels_that_share_a_name_stay_apart(dataset_folder):
    feature = load_dataset(str(dataset_folder), split="train").features["label"]
    assert isinstance(feature, ClassLabel)
    assert feature.names == ["crane (0)", "dog", "crane (2)"] == distinct_names(["crane", "dog", "crane"])


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


def test_the_card_is_valid_metadata_for_the_hub(dataset_folder):
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(dataset_folder / "README.md")
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert "sparse-model-inversion" in card.data.tags
    assert "someone/vit" in card.text and "`abc`" in card.text
    assert "No photographs and no training data were used" in card.text


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
        ('{"schema_version": 99}', "has schema version 99, but this smi_hf reads version 1"),
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


def test_the_writer_survives_leftovers_of_a_killed_process(record, images, tmp_path):
    writer = SparseDatasetWriter(tmp_path / "dataset", record)
    writer.open()
    writer.write(images(0))
    leftover = tmp_path / "dataset" / "data" / ".train-00000002-00000003.parquet.4242.incomplete"
    leftover.write_bytes(b"half")
    assert writer.finished_images() == {0, 1}
    SparseDatasetWriter(tmp_path / "dataset", record).open()
    assert not leftover.exists()
