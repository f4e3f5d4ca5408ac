"""Stopping a training when held-out images are answered no better, with the best student: `early_stopping_patience`.

transformers' own callback counts; its checkpoints hold the best student.
"""

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import IntervalStrategy


class EarlyStopping(EarlyStoppingCallback):
    """transformers' callback, with a last evaluation, and deaf to sets of images that have no say."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The last steps may be fewer than those between evaluations, and would otherwise be taught in vain.
        if args.eval_strategy == IntervalStrategy.STEPS and state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        if f"eval_{args.metric_for_best_model.removeprefix('eval_')}" in metrics:
            super().on_evaluate(args, state, control, metrics, **kwargs)


def stopped_state(checkpoint: Path) -> TrainerState | None:
    """The state of a training that had stopped early when this checkpoint was saved, None of any other."""
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    saved = state.stateful_callbacks.get(EarlyStopping.__name__)
    if saved is None:
        return None
    counted = saved["attributes"]["early_stopping_patience_counter"]
    return state if counted >= saved["args"]["early_stopping_patience"] else None
