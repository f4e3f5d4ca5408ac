import io
import struct
import zlib
from dataclasses import replace

import pytest
from datasets import Dataset, List, Value
from PIL import Image

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.data import made_from, validate
from smi_hf.data.schema import COLUMNS
from smi_hf.data.validation import check_fits
from smi_hf.images.kept import sparse_images


@pytest.fixture
def sparse(dataset_folder):
    return load_sparse_dataset(dataset_folder)


def with_row(dataset, **changes):
    """The dataset with values of its image 2 replaced."""

    def change(row):
        return {**row, **changes} if row["image_index"] == 2 else row

    return dataset.map(change, features=dataset.features)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kept_patches": [0, 6, 1]}, "image 2 keeps patch 6, but the grid has patches 0 to 5"),
        ({"kept_patches": [-1, 0, 1]}, "image 2 keeps patch -1, but the grid has patches 0 to 5"),
        ({"kept_patches": [1, 1, 2]}, "image 2 keeps a patch twice"),
        ({"kept_patches": []}, "image 2 keeps no patch"),
        ({"label": None}, "image 2 has label None, but the teacher has labels 0 to 2"),
    ],
)
def test_a_row_that_cannot_be_is_named(sparse, changes, message):
    with pytest.raises(UsageError, match=message):
        validate(with_row(sparse.dataset, **changes), sparse.record)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_value_that_is_missing_is_one_sentence(sparse, column):
    with pytest.raises(UsageError, match=f"image 2 |no {column}") as caught:
        validate(with_row(sparse.dataset, **{column: None}), sparse.record)
    assert "\n" not in str(caught.value)


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, format="PNG")
    return buffer.getvalue()


def bomb(side):
    """A PNG whose header promises `side` x `side` pixels, in a few bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def with_image(dataset, data):
    """The dataset with the bytes of its image 2 replaced, as they would stand in a shard."""
    table = dataset.with_format("arrow")[:]
    rows = table.to_pylist()
    rows[2]["image"] = {"bytes": data, "path": None}
    return Dataset(type(table).from_pylist(rows, schema=dataset.features.arrow_schema))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bomb(20_000), "image 2 has 20000x20000 px, but the smi.json of the dataset says 16x24 px"),
        (png(16, 24), "image 2 has 24x16 px, but the smi.json of the dataset says 16x24 px"),
        (png(24, 16)[:-7], "image 2 is a PNG that ends too early"),
        (png(24, 16)[:20], "image 2 is no PNG"),
        (b"GIF89a" + bytes(100), "image 2 is no PNG"),
        (b"", "image 2 is no PNG"),
        (None, "image 2 is no PNG"),
    ],
    ids=["bomb", "other size", "truncated", "header alone", "gif", "empty", "missing"],
)
def test_an_image_that_cannot_be_is_named_without_decoding_any(sparse, data, message, monkeypatch):
    def decode(*args, **kwargs):
        raise AssertionError("an image was decoded")

    dataset = with_image(sparse.dataset, data)
    monkeypatch.setattr(Image, "open", decode)
    with pytest.raises(UsageError, match=message):
        validate(dataset, sparse.record)


def test_an_image_of_the_right_size_passes(sparse):
    validate(with_image(sparse.dataset, png(24, 16)), sparse.record)


def test_damage_that_only_decoding_finds_is_one_sentence(sparse, dataset_folder):
    data = bytearray(sparse.dataset.with_format("arrow")["image"][2].as_py()["bytes"])
    data[60:90] = bytes(30)
    damaged = replace(sparse, dataset=with_image(sparse.dataset, bytes(data)))
    validate(damaged.dataset, damaged.record)
    with pytest.raises(UsageError, match=r"image 2 cannot be decoded \(.+\); download the dataset or make it again"):
        damaged.batch([1, 2])


def test_a_decompression_bomb_that_reaches_the_collator_is_not_decoded(sparse):
    row = {"image": {"bytes": bomb(20_000), "path": None}, "image_index": 2, "kept_patches": [1], "label": 0}
    with pytest.raises(UsageError, match=r"image 2 cannot be decoded \(Image size \(400000000 pixels\) exceeds limit"):
        sparse.collate([row])


def test_images_of_different_sizes_are_not_stacked(sparse):
    rows = [{**sparse.dataset[0], "image": Image.new("RGB", size)} for size in ((24, 16), (16, 24))]
    with pytest.raises(UsageError, match=r"different sizes \(height, width\): \(16, 24\) and \(24, 16\) px"):
        sparse.collate(rows)


def test_an_image_that_is_there_twice_is_named(sparse):
    doubled = sparse.dataset.select([0, 1, 1, 2])
    with pytest.raises(UsageError, match="image 1 is in the dataset twice"):
        validate(doubled, sparse.record)


def test_a_column_of_another_type_is_named(sparse):
    dataset = sparse.dataset.cast_column("kept_patches", List(Value("int64")))
    message = (
        "column 'kept_patches' of the dataset holds list<.*int64>, but that of a sparse dataset holds list<.*int16>"
    )
    with pytest.raises(UsageError, match=message):
        validate(dataset, sparse.record)


def test_a_missing_column_is_named(sparse):
    with pytest.raises(UsageError, match="lacks the column 'kept_patches'"):
        validate(sparse.dataset.remove_columns("kept_patches"), sparse.record)


def test_a_missing_image_is_noticed(sparse):
    with pytest.raises(UsageError, match=r"has 3 images, but its smi.json promises 4"):
        validate(sparse.dataset.select(range(3)), sparse.record)


def test_changed_label_names_are_noticed(sparse):
    with pytest.raises(UsageError, match="label names"):
        validate(sparse.dataset, replace(sparse.record, label_names=["a", "b", "c"]))


def test_a_dataset_that_does_not_fit_the_model_is_refused(sparse, teacher):
    with pytest.raises(UsageError, match="images of 16x24 px in patches of 8x8 px, but the model has images of 32x32"):
        check_fits(sparse.record, teacher)
    same_grid = replace(sparse.record, image_size=(32, 32))
    with pytest.raises(UsageError, match="the dataset has 3 labels, but the model has 5"):
        check_fits(same_grid, teacher)


@pytest.fixture
def own(sparse_folder):
    return load_sparse_dataset(sparse_folder)


def test_a_dataset_that_the_model_would_see_in_another_range_is_refused(sparse_folder, own, teacher):
    load_sparse_dataset(sparse_folder, teacher=teacher)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    mended = replace(teacher, normalization=replace(teacher.normalization, mean=mean, std=std))
    message = r"is normalized by mean \(0.5, 0.5, 0.5\) .*, but the model by \(0.485, 0.456, 0.406\)"
    for streaming in (False, True):
        with pytest.raises(UsageError, match=message):
            load_sparse_dataset(sparse_folder, teacher=mended, streaming=streaming)
    rounded = replace(teacher.normalization, std=tuple(value + 1e-8 for value in teacher.normalization.std))
    check_fits(own.record, replace(teacher, normalization=rounded))


def test_labels_in_another_order_or_of_other_names_are_refused(own, teacher):
    swapped = replace(own.record, label_names=["LABEL_1", "LABEL_0", *own.record.label_names[2:]])
    with pytest.raises(UsageError, match="label 0 of the dataset is 'LABEL_1', but that of the model is 'LABEL_0'"):
        check_fits(swapped, teacher)
    # As stock `datasets` would tell them apart.
    teacher.model.config.id2label |= {0: "crane", 1: "crane"}
    check_fits(replace(own.record, label_names=["crane (0)", "crane (1)", *own.record.label_names[2:]]), teacher)


def test_whose_images_they_are_is_said_by_the_weights(own, teacher):
    assert made_from(own.record, teacher)
    teacher.model.model.classifier.bias.data[0] += 1
    assert not made_from(own.record, teacher)
    assert not made_from(replace(own.record, teacher=replace(own.record.teacher, weights_sha256=None)), teacher)


def test_rows_beyond_the_record_are_refused(own):
    rows = own.dataset.map(lambda row: row | {"image_index": row["image_index"] + 1}, features=own.dataset.features)
    with pytest.raises(UsageError, match=r"image 6 is in the dataset, but its smi.json promises images 0 to 5"):
        validate(rows, own.record)
    assert len(sparse_images(own)) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trajectory": 0}, "image 2 is said to be of trajectory 0, stage 0, but a trajectory of the dataset has 2"),
        ({"stage": 1}, "image 2 is said to be of trajectory 1, stage 1, but"),
        ({"stage": 2, "trajectory": 0}, "image 2 is said to be of trajectory 0, stage 2, but"),
        ({"stage": None}, "a row of the dataset has no stage"),
    ],
)
def test_a_row_of_a_trajectory_that_cannot_be_is_named(trajectories, changes, message):
    with pytest.raises(UsageError, match=message):
        validate(with_row(trajectories.dataset, **changes), trajectories.record)


def test_images_of_a_trajectory_that_share_a_patch_are_named(trajectories):
    kept = trajectories.dataset["kept_patches"][3]
    with pytest.raises(UsageError, match=f"two images of trajectory 1 keep patch {min(kept)}, but those of one"):
        validate(with_row(trajectories.dataset, kept_patches=kept), trajectories.record)


def test_a_dataset_of_trajectories_without_their_columns_is_refused(trajectories):
    with pytest.raises(UsageError, match="the dataset lacks the column 'stage'"):
        validate(trajectories.dataset.remove_columns("stage"), trajectories.record)
