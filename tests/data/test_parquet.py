"""Files are opened by their names, whatever characters are in them, and without a cache where they are small."""

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from datasets import IterableDataset
from torch.utils.data import DataLoader

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.data import parquet
from smi_hf.data.parquet import open_parquet
from smi_hf.data.writer import SparseDatasetWriter

# What `datasets`, fsspec, pyarrow or a shell reads something into.
NAMES = [
    "exp[1]",
    "run[seed=0]",
    "a::b",
    "[a]::b",
    "zip::x",
    "run*",
    "q?x",
    "quo'te\"x",
    "sp ace",
    "seed=0",
    "s3:x",
    "{a}",
    "50%25",
    "#x",
    "ü",
]


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """A cache that cannot be written, as that of a read-only home."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_is_read_from_its_own_folder_without_a_cache(dataset_folder, tmp_path, name, streaming, no_cache):
    # What the name matches as a pattern, with other rows.
    for decoy in ("exp1", "runs", "runx", "qxx", "a", "b"):
        data = tmp_path / "names" / decoy / "data"
        data.mkdir(parents=True)
        write(data, "train-00000000-00000001.parquet", text=["x"])
    folder = tmp_path / "names" / name
    dataset_folder.rename(folder)
    sparse = load_sparse_dataset(folder, streaming=streaming)
    assert isinstance(sparse.dataset, IterableDataset) is streaming
    assert [row["image_index"] for row in sparse.dataset] == [0, 1, 2, 3]
    assert sparse.name == name


def write(folder, name, **columns):
    folder.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), str(folder / name))
    return folder / name


def test_rows_keep_the_order_of_the_files_and_workers_share_them(tmp_path):
    files = [write(tmp_path, f"{number}.parquet", n=list(range(number, number + 100))) for number in (200, 0, 100)]
    expected = [*range(200, 300), *range(100), *range(100, 200)]
    assert open_parquet(files)["n"][:] == expected
    streamed = open_parquet(files, streaming=True)
    assert streamed.num_shards == 3
    assert [row["n"] for row in streamed] == expected
    rows = DataLoader(streamed, batch_size=None, num_workers=2)
    assert sorted(row["n"] for row in rows) == list(range(300))


def test_what_does_not_fit_into_memory_is_mapped_from_the_cache(tmp_path, monkeypatch):
    file = write(tmp_path, "0.parquet", n=[1, 2])
    small = open_parquet([file])
    assert not small.cache_files
    monkeypatch.setattr(parquet, "_MAX_BYTES_IN_MEMORY", 1)
    large = open_parquet([file], split="test")
    assert large.cache_files
    assert large["n"][:] == small["n"][:] == [1, 2]
    assert (str(large.split), large.builder_name) == ("test", "parquet")
    # Another file of the same name is another dataset.
    write(tmp_path, "0.parquet", n=[3])
    assert open_parquet([file])["n"][:] == [3]


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, no_cache):
    monkeypatch.setattr(parquet, "_MAX_BYTES_IN_MEMORY", 1)
    message = r"the cache of datasets, .*cache/smi_hf, cannot be written \(.*\); make room, or set HF_DATASETS_CACHE"
    with pytest.raises(UsageError, match=message):
        open_parquet([write(tmp_path, "0.parquet", n=[1, 2])])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:-20], lambda data: data[:4] + bytes(200) + data[204:], lambda data: b"text"],
    ids=["empty", "truncated", "zeros", "text"],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path, damage, streaming):
    numbers = np.random.default_rng(0).integers(0, 2**60, 1000)
    table = pyarrow.table({"n": numbers})
    pyarrow.parquet.write_table(table, tmp_path / "0.parquet", write_page_checksum=True)
    (tmp_path / "0.parquet").write_bytes(damage((tmp_path / "0.parquet").read_bytes()))
    with pytest.raises(UsageError, match=r"0\.parquet cannot be read: ") as caught:
        list(open_parquet([tmp_path / "0.parquet"], streaming=streaming))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metadata", ["{", '{"info": 3}', '{"info": {"features": {"n": {"_type": "Nonsense"}}}}'])
def test_damaged_notes_on_features_are_one_sentence(tmp_path, metadata):
    schema = pyarrow.schema([("n", pyarrow.int64())], metadata={"huggingface": metadata})
    pyarrow.parquet.write_table(pyarrow.table({"n": [1]}, schema=schema), tmp_path / "0.parquet")
    with pytest.raises(UsageError, match=r"0\.parquet cannot be read: "):
        open_parquet([tmp_path / "0.parquet"])


def test_other_columns_in_a_later_file_are_named(tmp_path):
    files = [write(tmp_path, "0.parquet", n=[1]), write(tmp_path, "1.parquet", text=["x"])]
    with pytest.raises(UsageError, match=r"1\.parquet cannot be read: it has columns text instead of n"):
        open_parquet(files)


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_of_another_run_under_the_right_names_are_refused(dataset_folder, images, record, tmp_path, streaming):
    other = SparseDatasetWriter(tmp_path / "other", record)
    other.open()
    shard = other.write(type(images(0))(**{**vars(images(2)), "seed": 8}))
    (dataset_folder / "data" / shard.name).write_bytes(shard.read_bytes())
    with pytest.raises(UsageError, match=r"image 2 has seed 8, but the smi\.json of the dataset says 7"):
        list(load_sparse_dataset(dataset_folder, streaming=streaming).dataset)
