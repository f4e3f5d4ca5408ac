from dataclasses import replace

import pytest
import torch

from smi_hf import UsageError, concatenate, load_sparse_dataset
from smi_hf.data import validate


@pytest.fixture
def sparse(dataset_folder):
    return load_sparse_dataset(dataset_folder)


def variant(sparse, num_kept=None, **settings):
    """The dataset as another run would have made it, with fewer kept patches if told so."""

    def change(row):
        changed = {"seed": settings.get("seed", row["seed"])}
        return row | changed | {"kept_patches": row["kept_patches"][:num_kept]}

    dataset = sparse.dataset.map(change, features=sparse.dataset.features)
    counts = sparse.record.keep_counts if num_kept is None else (6, num_kept)
    return replace(
        sparse,
        dataset=dataset,
        record=replace(sparse.record, settings=sparse.record.settings | settings, keep_counts=counts),
    )


@pytest.fixture
def union(sparse):
    return concatenate([sparse, variant(sparse, seed=8)])


def test_the_union_has_all_rows_and_what_the_records_share(sparse, union):
    assert len(union) == union.record.num_images == 8
    validate(union.dataset, union.record)
    assert union.dataset["source"][:] == [0] * 4 + [1] * 4
    assert [source.settings["seed"] for source in union.sources] == [7, 8]
    assert union.record.teacher == sparse.record.teacher
    assert "seed" not in union.record.settings
    assert union.record.settings["num_steps"] == 10
    assert union.record.keep_counts == sparse.record.keep_counts
    for number in range(8):
        original = sparse.dataset[number % 4]
        assert union.dataset[number]["image"].tobytes() == original["image"].tobytes()
        assert union.dataset[number]["label"] == original["label"]


def test_datasets_that_keep_different_numbers_of_patches_are_refused(sparse):
    with pytest.raises(UsageError, match="dataset 2 keeps 2 patches of an image, but dataset 1 keeps 3"):
        concatenate([sparse, variant(sparse, 2, seed=8)])


def test_only_the_ends_of_different_schedules_are_shared(sparse):
    other = variant(sparse, seed=8)
    other = replace(other, record=replace(other.record, keep_counts=(6, 4, 3)))
    assert concatenate([sparse, other]).record.keep_counts == (6, 3)


def test_unions_can_be_put_together_again_and_parts_of_one_run_stay_one_source(sparse, union):
    third = variant(sparse, seed=9)
    larger = concatenate([third, union])
    assert [source.settings["seed"] for source in larger.sources] == [9, 7, 8]
    assert larger.dataset["source"][:] == [0] * 4 + [1] * 4 + [2] * 4
    parts = [replace(union, dataset=union.dataset.select(range(start, start + 4))) for start in (0, 4)]
    whole = concatenate(parts)
    assert len(whole) == 8
    assert sorted(whole.dataset["seed"][:]) == [7] * 4 + [8] * 4
    validate(whole.dataset, whole.record)


def test_an_image_is_not_taken_twice(sparse, union):
    message = "image 0 of seed 7 would be there twice, from datasets of the same teacher and settings"
    for datasets in ([sparse, sparse], [union, sparse], [sparse.first(1), sparse]):
        with pytest.raises(UsageError, match=message):
            concatenate(datasets)
    # Other settings make other images of the same seed and number.
    assert len(concatenate([sparse, variant(sparse, num_steps=20)])) == 8


def test_datasets_that_do_not_fit_each_other_are_refused(sparse):
    other = variant(sparse, seed=8)
    teacher = replace(sparse.record.teacher, name="someone/else", weights_sha256="1" * 64)
    for changes, message in (
        ({"patch_size": (4, 4)}, "dataset 2 has images of 16x24 px in patches of 4x4 px, but dataset 1 has"),
        ({"label_names": ["a", "b", "c"]}, r"dataset 2 has other labels \(3, the first is 'a'\) than dataset 1"),
        ({"image_mean": (0.4, 0.5, 0.5)}, r"dataset 2 is normalized by mean \(0.4, 0.5, 0.5\)"),
        ({"teacher": teacher}, "dataset 2 was inverted from 'someone/else'.*other_teachers=True"),
    ):
        with pytest.raises(UsageError, match=message):
            concatenate([sparse, replace(other, record=replace(other.record, **changes))])
    union = concatenate([sparse, replace(other, record=replace(other.record, teacher=teacher))], other_teachers=True)
    assert union.record.teacher.name == "someone/vit, someone/else"
    assert union.record.teacher.weights_sha256 is None
    with pytest.raises(UsageError, match="there is no dataset to concatenate"):
        concatenate([])


def test_batches_by_number_are_those_of_the_collator(union):
    by_number = union.batch([5, 4])
    collated = union.collate([union.dataset[5], union.dataset[4]])
    assert all(torch.equal(by_number[name], collated[name]) for name in collated)


def test_starts_are_shared_and_an_older_record_means_noise(sparse):
    assert "start" not in sparse.record.settings
    same = concatenate([sparse, variant(sparse, seed=8, start="noise")])
    assert same.record.settings["start"] == "noise"
    assert "start" not in concatenate([sparse, variant(sparse, seed=8, start="pink")]).record.settings


def test_rows_of_trajectories_keep_theirs_and_all_others_are_one_of_their_own(sparse, trajectories):
    union = concatenate([sparse, trajectories])
    assert union.dataset["trajectory"][:] == [0, 1, 2, 3, 0, 0, 1, 1]
    assert union.dataset["stage"][:] == [0, 0, 0, 0, 0, 1, 0, 1]
    assert union.dataset["source"][:] == [0] * 4 + [1] * 4
    validate(union.dataset, union.record)
    # Of trajectories of two seeds, whose numbers are the same.
    twice = concatenate([trajectories, variant(trajectories, seed=8)])
    assert twice.dataset["stage"][:] == [0, 1, 0, 1] * 2
    assert twice.record.num_stages == 2
    validate(twice.dataset, twice.record)
    assert "trajectory" not in concatenate([sparse, variant(sparse, seed=8)]).dataset.features
