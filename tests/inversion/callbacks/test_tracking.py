"""What trackers are told."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from smi_hf import SparseInversionTrainer
from smi_hf.inversion.callbacks import TrackerCallback


def test_trackers_get_the_loss_parts(teacher, config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    args = config(report_to=["tensorboard"], logging_steps=4)
    trainer = SparseInversionTrainer(teacher, args)
    trainer.train()
    logs = Path(args.output_dir + "-logs") / "smi_hf"
    events = EventAccumulator(str(logs)).Reload()
    assert {"loss", "loss/cross_entropy", "loss/total_variation", "kept_patches"} <= set(events.Tags()["scalars"])
    assert [int(event.value) for event in events.Scalars("kept_patches")] == [11, 7, 11, 7]


class Told(SimpleNamespace):
    """An accelerator that remembers what it is told."""

    def init_trackers(self, project, config):
        self.settings = config

    def log(self, values, step):
        self.logged[step] = values


def test_what_is_logged_are_means_whose_sum_is_the_loss_and_steps_go_on_over_batches(config):
    told = Told(logged={}, trackers=[])
    run = SimpleNamespace(args=config(logging_steps=4), accelerator=told)
    callback = TrackerCallback()
    callback.on_begin(run)
    losses = {"cross_entropy": torch.tensor([1.0, 3.0]), "l2": torch.tensor([0.5, 0.5])}
    for step in [*range(1, 9), *range(1, 9)]:
        callback.on_step_end(run, SimpleNamespace(step=step, num_kept=7), losses)
    assert list(told.logged) == [4, 8, 12, 16]
    expected = {"loss/cross_entropy": 2.0, "loss/l2": 0.5, "loss": 2.5, "kept_patches": 7}
    assert all(values == pytest.approx(expected) for values in told.logged.values())


def test_settings_are_told_as_scalars(config):
    told = Told(logged={}, trackers=[])
    callback = TrackerCallback()
    callback.on_begin(SimpleNamespace(args=config(), accelerator=told))
    assert all(isinstance(value, (bool, int, float, str)) for value in told.settings.values())
    assert (told.settings["num_steps"], told.settings["prune_steps"]) == (8, "[2, 5]")


def test_trackers_are_finished_and_the_accelerator_is_left_to_the_trainer(config):
    finished = []
    trackers = [SimpleNamespace(finish=lambda number=number: finished.append(number)) for number in range(2)]
    TrackerCallback().on_end(SimpleNamespace(accelerator=Told(logged={}, trackers=trackers)))
    assert finished == [0, 1]
