"""A streamed dataset is checked as it passes, and says what it cannot do."""

import pyarrow.parquet
import pytest
import torch
from datasets import IterableDataset
from torch.utils.data import DataLoader

from smi_hf import UsageError, concatenate, load_sparse_dataset
from smi_hf.images.kept import sparse_images


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
