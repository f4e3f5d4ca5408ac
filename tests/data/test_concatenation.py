from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from smi_hf import UsageError, concatenate, load_sparse_dataset
from smi_hf.data import SameCountSampler, validate
from smi_hf.images.kept import sparse_images


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
def mixed(sparse):
    return concatenate([sparse, variant(sparse, 2, seed=8)])


def test_the_union_has_all_rows_and_what_the_records_share(sparse, mixed):
    assert len(mixed) == mixed.record.num_images == 8
    validate(mixed.dataset, mixed.record)
    assert mixed.dataset["source"][:] == [0] * 4 + [1] * 4
    assert [source.settings["seed"] for source in mixed.sources] == [7, 8]
    assert mixed.record.teacher == sparse.record.teacher
    assert "seed" not in mixed.record.settings
    assert mixed.record.settings["num_steps"] == 10
    assert mixed.record.keep_counts == ()
    for number in range(8):
        original = sparse.dataset[number % 4]
        assert mixed.dataset[number]["image"].tobytes() == original["image"].tobytes()
        assert mixed.dataset[number]["label"] == original["label"]


def test_a_mixed_dataset_says_so_and_comes_apart_by_count(sparse, mixed):
    assert mixed.kept_counts.tolist() == [3] * 4 + [2] * 4
    assert (sparse.is_mixed, mixed.is_mixed) == (False, True)
    parts = mixed.by_kept_count()
    assert {count: len(part) for count, part in parts.items()} == {2: 4, 3: 4}
    assert parts[2].dataset["seed"][:] == [8] * 4
    assert mixed.first(6).kept_counts.tolist() == [3] * 4 + [2] * 2
    assert len(sparse_images(parts[2])) == 4
    with pytest.raises(UsageError, match=r"images of 2, 3 kept patches cannot be one set; .*by_kept_count\(\)\[K\]"):
        sparse_images(mixed)


def test_a_mixed_batch_is_refused_and_the_sampler_it_names_helps(mixed):
    with pytest.raises(UsageError, match=r"images of 2 and of 3 kept patches.*sampler=SameCountSampler"):
        list(DataLoader(mixed.dataset, batch_size=3, collate_fn=mixed.collate))
    sampler = SameCountSampler(mixed.kept_counts, 3, shuffle=True)
    shapes = [
        tuple(batch["kept_patches"].shape)
        for batch in DataLoader(mixed.dataset, batch_size=3, sampler=sampler, collate_fn=mixed.collate)
    ]
    assert sorted(shapes) == [(3, 2), (3, 2), (3, 3), (3, 3)]


def test_unions_can_be_put_together_again_and_parts_of_one_run_stay_one_source(sparse, mixed):
    third = variant(sparse, seed=9)
    union = concatenate([third, mixed])
    assert [source.settings["seed"] for source in union.sources] == [9, 7, 8]
    assert union.dataset["source"][:] == [0] * 4 + [1] * 4 + [2] * 4
    whole = concatenate(list(mixed.by_kept_count().values()))
    assert len(whole) == 8
    assert sorted(whole.dataset["seed"][:]) == [7] * 4 + [8] * 4
    validate(whole.dataset, whole.record)


def test_an_image_is_not_taken_twice(sparse, mixed):
    message = "image 0 of seed 7 would be there twice, from datasets of the same teacher and settings"
    for datasets in ([sparse, sparse], [mixed, sparse], [sparse.first(1), sparse]):
        with pytest.raises(UsageError, match=message):
            concatenate(datasets)
    # Other settings make other images of the same seed and number.
    assert len(concatenate([sparse, variant(sparse, num_steps=20)])) == 8


def test_datasets_that_do_not_fit_each_other_are_refused(sparse):
    other = variant(sparse, seed=8)
    teacher = sparse.record.teacher | {"name": "someone/else", "weights_sha256": "1" * 64}
    for changes, message in (
        ({"patch_size": (4, 4)}, "dataset 2 has images of 16x24 px in patches of 4x4 px, but dataset 1 has"),
        ({"label_names": ["a", "b", "c"]}, r"dataset 2 has other labels \(3, the first is 'a'\) than dataset 1"),
        ({"image_mean": (0.4, 0.5, 0.5)}, r"dataset 2 is normalised by mean \(0.4, 0.5, 0.5\)"),
        ({"teacher": teacher}, "dataset 2 was inverted from 'someone/else'.*other_teachers=True"),
    ):
        with pytest.raises(UsageError, match=message):
            concatenate([sparse, replace(other, record=replace(other.record, **changes))])
    union = concatenate([sparse, replace(other, record=replace(other.record, teacher=teacher))], other_teachers=True)
    assert union.record.teacher.name == "someone/vit, someone/else"
    assert union.record.teacher.weights_sha256 is None
    with pytest.raises(UsageError, match="there is no dataset to concatenate"):
        concatenate([])


def test_batches_by_number_are_those_of_the_collator(mixed):
    by_number = mixed.batch([5, 4])
    collated = mixed.collate([mixed.dataset[5], mixed.dataset[4]])
    assert all(torch.equal(by_number[name], collated[name]) for name in collated)
