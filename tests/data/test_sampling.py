from collections import Counter

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from smi_hf import UsageError
from smi_hf.data import SameCountSampler

COUNTS = st.lists(st.sampled_from([3, 5, 46]), min_size=1, max_size=60)


def blocks(sampler):
    drawn = list(sampler)
    return [drawn[start : start + sampler.block_size] for start in range(0, len(drawn), sampler.block_size)]


@settings(deadline=None)
@given(COUNTS, st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_every_image_comes_and_a_block_has_one_count(counts, block_size, shuffle, epoch):
    sampler = SameCountSampler(counts, block_size, shuffle=shuffle)
    sampler.set_epoch(epoch)
    made = blocks(sampler)
    assert {number for block in made for number in block} == set(range(len(counts)))
    assert all(len({counts[number] for number in block}) == 1 for block in made)
    assert len(sampler) == sum(map(len, made))
    assert list(sampler) == list(sampler)
    # Short blocks only where nothing else could be mixed up with them.
    if len(set(counts)) > 1:
        assert {len(block) for block in made} == {block_size}
    # No more repeats than a last block of each count needs.
    assert len(sampler) - len(counts) < block_size * len(set(counts))
    repeated = Counter(number for block in made for number in block)
    assert max(repeated.values()) - 1 <= block_size
    assert all(len(set(block)) == len(block) for block in made if counts.count(counts[block[0]]) >= block_size), (
        "an image twice in a block that others could have filled"
    )


def test_the_order_changes_with_epoch_and_seed_and_with_nothing_else():
    counts = np.repeat([3, 5], 20)

    def order(seed, epoch):
        sampler = SameCountSampler(counts, 4, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    counts_of_blocks = [counts[number] for number in order(0, 0)[::4]]
    assert counts_of_blocks != sorted(counts_of_blocks), "blocks of one count stand together"


def test_without_shuffling_images_of_one_count_come_in_order():
    assert list(SameCountSampler([3, 3, 3, 3, 3], 2)) == [0, 1, 2, 3, 4]
    assert list(SameCountSampler([5, 3, 5, 3, 5], 2)) == [1, 3, 0, 2, 4, 0]


@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_accelerate_shares_out_batches_of_one_count_and_sets_the_epoch(num_processes):
    counts = np.array([3] * 13 + [5] * 9 + [46] * 1)
    batch_size = 2

    def epoch_of(process, epoch):
        sampler = SameCountSampler(counts, batch_size * num_processes, shuffle=True)
        loader = prepare_data_loader(
            DataLoader(range(len(counts)), batch_size=batch_size, sampler=sampler, collate_fn=list),
            num_processes=num_processes,
            process_index=process,
            put_on_device=False,
        )
        loader.set_epoch(epoch)
        return list(loader)

    Accelerator(cpu=True)
    shares = [epoch_of(process, 1) for process in range(num_processes)]
    for together in zip(*shares, strict=True):
        assert len({counts[number] for batch in together for number in batch}) == 1
    assert {number for share in shares for batch in share for number in batch} == set(range(len(counts)))
    assert shares[0] != epoch_of(0, 2)


@pytest.mark.parametrize(
    ("counts", "block_size", "message"),
    [
        ([], 2, r"counts must be one number an image, but has shape \(0,\)"),
        ([[3]], 2, r"counts must be one number an image, but has shape \(1, 1\)"),
        ([3], 0, "block_size is 0, but a block has at least one image"),
    ],
)
def test_what_cannot_be_sampled_is_refused(counts, block_size, message):
    with pytest.raises(UsageError, match=message):
        SameCountSampler(counts, block_size)
