"""The embedding head of a dataset, and of none."""

import pytest
from towers import BACKBONE, save

from smi_hf import SparseInversionConfig, UsageError, dataset_head, invert, load_teacher
from smi_hf.data.record import DatasetRecord
from smi_hf.models.embeddings import HEAD_FILE


@pytest.fixture
def inverted(tmp_path):
    teacher = load_teacher(str(save(BACKBONE, tmp_path / "model")), directions=3)
    config = SparseInversionConfig(
        output_dir=str(tmp_path / "set"), num_images=2, num_steps=2, prune_steps=[1], report=False, disable_tqdm=True
    )
    invert(teacher, config)
    return teacher, tmp_path / "set"


def test_it_is_the_one_that_the_images_were_made_with(inverted):
    teacher, folder = inverted
    head = dataset_head(folder)
    assert head.sha256() == teacher.model.head.sha256() == DatasetRecord.load(folder).teacher.head_sha256


def test_a_dataset_of_a_classifier_has_none(sparse_folder):
    assert dataset_head(sparse_folder) is None


@pytest.mark.parametrize("damage", ["gone", "no head", "another one"])
def test_what_is_not_its_head_is_refused(inverted, damage, tmp_path):
    _, folder = inverted
    if damage == "gone":
        (folder / HEAD_FILE).unlink()
    elif damage == "no head":
        (folder / HEAD_FILE).write_bytes(b"none")
    else:
        load_teacher(str(tmp_path / "model"), directions=4).model.head.save(folder)
    message = {
        "gone": "has no embedding_head",
        "no head": "is no embedding head",
        "another one": "is not the embedding",
    }
    with pytest.raises(UsageError, match=message[damage]):
        dataset_head(folder)


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(UsageError):
        dataset_head(tmp_path)
