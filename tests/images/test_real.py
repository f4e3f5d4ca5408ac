"""Sets of real images: columns, labels, splits, and rows that are damaged."""

import logging
import shutil

import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value

from smi_hf import UsageError
from smi_hf.images.real import ImageSet, load_image_set

NAMES = ["cat", "dog", "boat"]


def test_labels_are_matched_by_name_where_both_have_them(saved):
    path = saved([0, 1, 2], ClassLabel(names=["Boat", "Cat", "Dog"]))
    assert load_image_set(path, NAMES).model_labels == {0: 2, 1: 0, 2: 1}


def test_folders_in_another_language_are_warned_of_and_with_one_slip_refused(saved, caplog):
    with caplog.at_level(logging.WARNING, logger="smi_hf"):
        images = load_image_set(saved([0, 1, 2], ClassLabel(names=["Hund", "Katze", "Schiff"])), NAMES)
    assert images.matched_by == "number"
    assert "'Hund' as 'cat'" in caplog.text
    with pytest.raises(UsageError, match=r"1 are not clear: 'dgo' \(did you mean 'dog'\?\)"):
        load_image_set(saved([0, 1, 2], ClassLabel(names=["cat", "dgo", "boat"])), NAMES)


def test_names_without_numbers_are_matched(saved):
    images = load_image_set(saved(["boat", "cat"], Value("string")), NAMES)
    assert images.batch([0, 1])[1].tolist() == [2, 0]
    assert images.matched_by == "name"


@pytest.mark.parametrize("labels", [[0, -1, 2], [-1, -1, -1], [0, None, 1]])
def test_rows_without_labels_are_refused(saved, labels):
    missing = sum(label in (None, -1) for label in labels)
    for feature in (Value("int64"), ClassLabel(names=NAMES)):
        with pytest.raises(UsageError, match=f"has no label .* in {missing} of the 3 rows .*; give images"):
            load_image_set(saved(labels, feature), NAMES)


def test_a_split_without_labels_is_answered_with_the_others(saved, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for split, labels in (("train", [0, 1]), ("test", [-1, -1])):
        shutil.move(saved(labels, ClassLabel(names=NAMES)), folder / f"{split}.parquet")
    with pytest.raises(UsageError, match=r"in 2 of the 2 rows of its split 'test'; choose another split \(train\)"):
        load_image_set(str(folder), NAMES)
    assert len(load_image_set(f"{folder}:train", NAMES)) == 2


@pytest.mark.parametrize("feature", [Value("float64"), Value("bool"), Value("binary")])
def test_a_column_that_holds_no_labels_is_refused(saved, feature):
    values = {"float64": 0.5, "bool": True, "binary": b"a"}
    with pytest.raises(UsageError, match=f"column 'label' of .* holds no labels .*, but {feature.dtype}"):
        load_image_set(saved([values[feature.dtype]], feature), NAMES)


def test_label_numbers_without_names_are_taken_as_they_are(saved):
    images = load_image_set(saved([2, 0], Value("int64"), column="labels"), NAMES)
    assert images.model_labels is None
    assert images.matched_by == "number"
    assert images.label_column == "labels"


def test_labels_that_the_model_does_not_have_are_refused(saved):
    with pytest.raises(UsageError, match="has labels 0 to 3, but the model has labels 0 to 2"):
        load_image_set(saved([0, 3], Value("int64")), NAMES)


def test_a_subset_is_spread_over_the_whole_set(saved):
    images = load_image_set(saved(sorted([0, 1, 2] * 10), Value("int64")), NAMES, max_images=3)
    assert images.dataset["label"][:] == [0, 1, 2] or sorted(set(images.dataset["label"][:])) == [0, 2]
    assert len(images) == 3


def test_a_column_that_does_not_exist_is_answered_with_the_nearest(saved):
    with pytest.raises(UsageError, match=r"has no column 'lable' \(did you mean 'label'\?\)"):
        load_image_set(saved([0], Value("int64")), NAMES, label_column="lable")


def test_a_set_without_images_is_refused(tmp_path):
    path = tmp_path / "text.parquet"
    Dataset.from_dict({"text": ["a"], "label": [0]}).to_parquet(path)
    with pytest.raises(UsageError, match="has 0 image columns"):
        load_image_set(str(path), NAMES)


def test_a_split_is_named_beside_the_dataset_and_validation_comes_first(saved, tmp_path):
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        shutil.move(saved([0] * count, Value("int64")), folder / f"{split}-00000-of-00001.parquet")
    name = str(tmp_path / "set")
    assert len(load_image_set(name, NAMES)) == 2
    assert len(load_image_set(f"{name}:train", NAMES)) == 3
    assert len(load_image_set(name, NAMES, split="test")) == 1
    with pytest.raises(UsageError, match=r"has no split 'tests' \(did you mean 'test'\?\); it has"):
        load_image_set(name, NAMES, split="tests")


def test_an_empty_set_is_refused(tmp_path):
    import pyarrow.parquet

    schema = Features({"image": Image(), "label": Value("int64")}).arrow_schema
    pyarrow.parquet.write_table(schema.empty_table(), tmp_path / "test.parquet")
    with pytest.raises(UsageError, match=r"dataset .*test\.parquet (is empty|cannot be loaded: )"):
        load_image_set(str(tmp_path / "test.parquet"), NAMES)


@pytest.mark.parametrize("max_images", [0, -3])
def test_no_images_are_not_a_number_of_images(saved, max_images):
    path = saved([0, 1], Value("int64"))
    with pytest.raises(UsageError, match=f"max_images is {max_images}, but must be at least 1"):
        load_image_set(path, NAMES, max_images=max_images)
    with pytest.raises(UsageError, match=f"max_images is {max_images}, but must be at least 1"):
        load_image_set(path, NAMES).spread(max_images)
    with pytest.raises(UsageError, match="batch_size is 0, but must be at least 1"):
        next(load_image_set(path, NAMES).batches(0))


def test_a_synthetic_set_is_warned_of(sparse_folder, teacher, caplog, photographs):
    with caplog.at_level(logging.WARNING, logger="smi_hf"):
        images = load_image_set(str(sparse_folder), teacher.label_names)
        assert images.is_synthetic
        assert "is a sparse dataset: its images were made to please a model" in caplog.text
        caplog.clear()
        assert not load_image_set(str(photographs), teacher.label_names).is_synthetic
        assert not caplog.records


@pytest.fixture
def with_bad_row(tmp_path):
    """A set of six pictures of which number 4 is replaced; returns its path."""

    def write(row):
        import io

        import pyarrow
        import pyarrow.parquet
        from PIL import Image as Picture

        data = io.BytesIO()
        Picture.new("RGB", (64, 64), (9, 99, 200)).save(data, format="PNG")
        rows = [{"bytes": data.getvalue(), "path": None}] * 6
        rows[4] = row(data.getvalue())
        features = Features({"image": Image(), "label": Value("int64")})
        table = pyarrow.table({"image": rows, "label": [0] * 6}, schema=features.arrow_schema)
        pyarrow.parquet.write_table(table, tmp_path / "set.parquet")
        return str(tmp_path / "set.parquet")

    return write


@pytest.mark.parametrize(
    "row",
    [
        lambda good: {"bytes": good[:80], "path": None},
        lambda good: {"bytes": b"", "path": None},
        lambda good: {"bytes": b"no picture", "path": None},
        lambda good: {"bytes": None, "path": "/nowhere/photo.png"},
    ],
)
def test_a_picture_that_cannot_be_decoded_is_named(with_bad_row, row):
    images = load_image_set(with_bad_row(row), NAMES)
    with pytest.raises(UsageError, match=r"the image of row 4 of dataset set\.parquet cannot be decoded \("):
        list(images.batches(4))
    # By its place in the split, also in a part of it.
    with pytest.raises(UsageError, match=r"the image of row 4 of dataset set\.parquet"):
        images.select([5, 4]).batch([0, 1])
    assert images.batch([0, 1, 2, 3, 5])[1].tolist() == [0] * 5


def test_a_row_without_a_picture_is_named(with_bad_row):
    images = load_image_set(with_bad_row(lambda good: None), NAMES)
    with pytest.raises(UsageError, match=r"row 4 of dataset set\.parquet has no image"):
        images.batch(range(6))


def test_pictures_have_the_same_digest_in_a_file_of_their_own_and_within_parquet(saved, tmp_path):
    path = saved([0, 1, 2], ClassLabel(names=NAMES))
    images = load_image_set(path, NAMES)
    inside = images.dataset.cast_column("image", Image(decode=False))["image"]
    for number, picture in enumerate(inside):
        (tmp_path / f"{number}.png").write_bytes(picture["bytes"])
    files = [str(tmp_path / f"{number}.png") for number in range(3)]
    features = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
    outside = Dataset.from_dict({"image": files, "label": [0, 1, 2]}, features=features)
    assert ImageSet(outside, "image", "label").digests() == images.digests()
    assert None not in images.digests()
