import pytest

from smi_hf.inversion.batches import own_batches


def test_processes_share_the_batches_of_one():
    alone = own_batches(10, 3, set())
    assert alone == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    shared = [own_batches(10, 3, set(), process=process, num_processes=2) for process in range(2)]
    assert shared == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9]]]


@pytest.mark.parametrize("finished", [set(), {0, 1, 2, 3}, {4, 5}, {1, 3, 9}, set(range(10))])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 32])
def test_what_is_left_is_made_once_whatever_batches_the_rest_was_made_in(finished, batch_size):
    batches = own_batches(10, batch_size, finished)
    assert sorted(index for batch in batches for index in batch) == sorted(set(range(10)) - finished)
    assert all(batch == list(range(batch[0], batch[-1] + 1)) and len(batch) <= batch_size for batch in batches)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_trajectories_are_made_whole_or_not_at_all(batch_size):
    # Of trajectories of three images, the second is there, and of the fourth but a part.
    batches = own_batches(15, batch_size, {3, 4, 5, 9, 10}, num_stages=3)
    assert sorted(trajectory for batch in batches for trajectory in batch) == [0, 2, 3, 4]
    assert all(len(batch) <= batch_size for batch in batches)


@pytest.mark.parametrize("num_stages", [1, 4])
@pytest.mark.parametrize("finished", [set(), set(range(8, 16))])
def test_the_batches_of_several_processes_are_those_of_one(num_stages, finished):
    alone = own_batches(40, 3, finished, num_stages=num_stages)
    shared = [
        batch
        for process in range(3)
        for batch in own_batches(40, 3, finished, num_stages=num_stages, process=process, num_processes=3)
    ]
    assert sorted(shared) == alone
