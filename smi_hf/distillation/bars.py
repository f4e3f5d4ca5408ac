"""The steps of a `Trainer` as stages of this package, in place of its own bars and of the dicts that it prints."""

import logging
from typing import Any

from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from smi_hf import progress
from smi_hf.progress import Bar

logger = logging.getLogger(__name__)

# What stands beside the bar, by its key in the log, and in what words; shares in percent.
_NOTES = {"loss": "loss {:.3g}", "eval_top1": "top-1 {:.1%}", "eval_agreement": "agreement {:.1%}"}


class BarCallback(TrainerCallback):
    """One bar over the steps, with the latest loss and score beside it, and one over each judgement.

    Args:
        disable: draw nothing.
    """

    def __init__(self, *, disable: bool = False) -> None:
        self._disable = disable
        self._notes: dict[str, str] = {}
        self._training: Bar | None = None
        self._judging: Bar | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._training = self._bar("Teaching", state.max_steps, "step", state)
        self._training.advance_to(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._training is not None:
            self._training.advance_to(state.global_step)

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: DataLoader | None = None,
        **kwargs: Any,
    ) -> None:
        if self._judging is None:
            self._judging = self._bar("Judging", len(eval_dataloader), "batch", state)
        self._judging.update()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._end_judging()

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> None:
        self._end_judging()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero:
            return
        logs = logs or {}
        logger.debug("step %d: %s", state.global_step, logs)
        self._notes |= {key: words.format(logs[key]) for key, words in _NOTES.items() if key in logs}
        if self._training is not None:
            self._training.advance_to(self._training.done, ", ".join(self._notes.values()))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._training is not None:
            self._training.close()
            self._training = None

    def _bar(self, description: str, total: int, unit: str, state: TrainerState) -> Bar:
        return progress.bar(
            description, total=total, unit=unit, disable=self._disable or not state.is_world_process_zero
        )

    def _end_judging(self) -> None:
        if self._judging is not None:
            self._judging.close()
            self._judging = None


def replace_bars(trainer: Trainer) -> None:
    """Puts our bars in the place of the trainer's own, if it has them; a notebook's table stays."""
    own = [trainer.pop_callback(kind) for kind in (ProgressCallback, PrinterCallback)]
    if any(own):
        trainer.add_callback(BarCallback(disable=trainer.args.disable_tqdm))
