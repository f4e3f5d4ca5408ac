from dataclasses import replace

import pytest

from smi_hf import UsageError, load
from smi_hf.data import validate
from smi_hf.data.reader import check_fits


@pytest.fixture
def sparse(dataset_folder):
    return load(dataset_folder)


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
        check_fits(sparse.record, teacher.model)
    same_grid = replace(sparse.record, image_size=(32, 32))
    with pytest.raises(UsageError, match="the dataset has 3 labels, but the model has 5"):
        check_fits(same_grid, teacher.model)
