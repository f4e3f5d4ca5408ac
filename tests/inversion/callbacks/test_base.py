"""When callbacks are called, and in which order."""

import inspect

import pytest

from smi_hf import SparseInversionCallback, SparseInversionTrainer
from smi_hf.inversion.callbacks import CallbackList


def test_callbacks_see_every_event_in_order(teacher, config):
    events = []

    class Recorder(SparseInversionCallback):
        def on_begin(self, run):
            events.append("begin")

        def on_batch_begin(self, run, state):
            events.append(f"start {state.image_indices} with {state.num_kept}")

        def on_step_end(self, run, state, losses):
            assert set(losses) == {"cross_entropy", "total_variation"}
            events.append("step")

        def on_prune(self, run, state):
            events.append(f"prune to {state.num_kept}")

        def on_batch_end(self, run, images):
            events.append(f"batch {images.image_indices}")

        def on_end(self, run):
            events.append("end")

    SparseInversionTrainer(teacher, config(), callbacks=[Recorder()]).train()
    batch = ["step"] * 2 + ["prune to 11"] + ["step"] * 3 + ["prune to 7"] + ["step"] * 3
    first, second = (
        ["start (0, 1) with 16", *batch, "batch (0, 1)"],
        ["start (2, 3) with 16", *batch, "batch (2, 3)"],
    )
    assert events == ["begin", *first, *second, "end"]


EVENTS = [name for name in vars(SparseInversionCallback) if name.startswith("on_")]


@pytest.mark.parametrize("event", EVENTS)
def test_a_list_tells_each_of_its_callbacks_every_event_in_order(event):
    told = []

    def listener(number):
        callback = SparseInversionCallback()
        setattr(callback, event, lambda *arguments: told.append((number, arguments)))
        return callback

    num_arguments = len(inspect.signature(getattr(SparseInversionCallback, event)).parameters) - 1
    arguments = tuple(object() for _ in range(num_arguments))
    getattr(CallbackList([listener(1), listener(2)]), event)(*arguments)
    assert told == [(1, arguments), (2, arguments)]
