"""The bar counts images, though steps cost less after each prune."""

from types import SimpleNamespace

import pytest
import torch

from smi_hf.inversion.callbacks import ProgressCallback

LOSSES = {"cross_entropy": torch.tensor([1.0, 3.0])}


@pytest.fixture
def begin(teacher, config):
    """Begins a run of four images in batches of two, 8 steps each: 16 patches, 11 after two steps, 7 after five."""
    bars = []

    def make(is_main=True, **changes):
        callback = ProgressCallback()
        run = SimpleNamespace(
            args=config(**{"disable_tqdm": False, "logging_steps": 4, **changes}),
            teacher=teacher,
            accelerator=SimpleNamespace(is_local_main_process=is_main),
            num_own_images=4,
        )
        callback.on_begin(run)
        bars.append(callback.bar)
        return callback, run

    yield make
    for bar in bars:
        bar.close()


def take_steps(callback, run, indices=(0, 1), steps=range(1, 9)):
    for step in steps:
        num_kept = 16 if step <= 2 else 11 if step <= 5 else 7
        callback.on_step_end(run, SimpleNamespace(image_indices=indices, num_kept=num_kept, step=step), LOSSES)


def test_the_steps_of_a_batch_add_up_to_its_images(begin):
    callback, run = begin()
    take_steps(callback, run)
    assert (callback.bar.done, callback.bar.total) == (pytest.approx(2), 4)
    callback.on_batch_end(run, SimpleNamespace(image_indices=(0, 1)))
    take_steps(callback, run, (2, 3), range(1, 3))
    # Two steps of all 16 patches, of 2 * 16 + 3 * 11 + 3 * 7 in all.
    assert callback.bar.done == pytest.approx(2 + 2 * 32 / 86)


def test_steps_of_a_batch_that_ran_out_of_memory_do_not_count(begin):
    callback, run = begin()
    take_steps(callback, run, steps=range(1, 6))
    take_steps(callback, run, indices=(0,))
    callback.on_batch_end(run, SimpleNamespace(image_indices=(0,)))
    assert callback.bar.done == 1


def test_loss_parts_and_kept_patches_stand_beside_it_every_few_steps(begin):
    callback, run = begin()
    take_steps(callback, run, steps=range(1, 4))
    assert callback.bar.note == ""
    take_steps(callback, run, steps=[4])
    assert callback.bar.note == "cross_entropy=2, kept=11"


def test_it_is_shown_by_the_main_process_and_not_if_that_is_unwanted(begin):
    assert begin()[0].bar.is_shown
    assert not begin(is_main=False)[0].bar.is_shown
    assert not begin(disable_tqdm=True)[0].bar.is_shown


def test_the_steps_of_a_trajectory_add_up_to_all_of_its_images(begin):
    callback, run = begin(policy="pri", prune_steps=None)
    for step in range(1, 9):
        num_kept = 16 - 4 * ((step - 1) // 2)
        callback.on_step_end(run, SimpleNamespace(image_indices=(0,), num_kept=num_kept, step=step), LOSSES)
    assert callback.bar.done == pytest.approx(4)
