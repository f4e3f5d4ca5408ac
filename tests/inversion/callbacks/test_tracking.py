"""What trackers are told."""

from pathlib import Path

from smi_hf import SparseInversionTrainer


def test_trackers_get_the_loss_parts(teacher, config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    args = config(report_to=["tensorboard"], logging_steps=4)
    trainer = SparseInversionTrainer(teacher, args)
    trainer.train()
    logs = Path(args.output_dir + "-logs") / "smi_hf"
    events = EventAccumulator(str(logs)).Reload()
    assert {"loss", "loss/cross_entropy", "loss/total_variation", "kept_patches"} <= set(events.Tags()["scalars"])
    assert [int(event.value) for event in events.Scalars("kept_patches")] == [11, 7, 11, 7]
