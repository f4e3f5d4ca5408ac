"""How long a training will take, judging included, said once its first steps are done."""

import logging
import math
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy

logger = logging.getLogger(__name__)

# The first step is slow: memory is laid out, kernels are chosen.
_UNTIMED, _TIMED = 1, 4


class Forecast(TrainerCallback):
    """Logs how long the training will take.

    Args:
        judge_seconds: that one judgement takes.
        is_judged_once: whether further judgements cost next to nothing, as what a frozen backbone gives is kept.
        may_stop: whether the training may stop before its last step.
    """

    def __init__(self, judge_seconds: float, *, is_judged_once: bool, may_stop: bool = False) -> None:
        self._judge_seconds = judge_seconds
        self._is_judged_once = is_judged_once
        self._may_stop = may_stop
        self._num_steps = 0
        self._start = 0.0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._num_steps += 1
        if self._num_steps == _UNTIMED:
            self._start = time.perf_counter()
        if self._num_steps == _UNTIMED + _TIMED and state.is_world_process_zero:
            seconds = (time.perf_counter() - self._start) / _TIMED
            num_judgements = _num_judgements(args, state)
            if self._is_judged_once:
                num_judgements = min(1, num_judgements)
            num_steps = state.max_steps - state.global_step
            logger.info(forecast(num_steps, seconds, num_judgements, self._judge_seconds, may_stop=self._may_stop))


def forecast(
    num_steps: int, step_seconds: float, num_judgements: int, judge_seconds: float, *, may_stop: bool = False
) -> str:
    """The forecast in words.

    Args:
        num_steps, step_seconds: that are left, and that one takes.
        num_judgements, judge_seconds: likewise.
        may_stop: whether all that is an upper bound.
    """
    training, judging = num_steps * step_seconds, num_judgements * judge_seconds
    bound = "at most " if may_stop else ""
    words = f"takes {bound}about {_duration(training + judging)} more: {num_steps} steps of {_duration(step_seconds)}"
    if num_judgements:
        words += f", {num_judgements} judgement{'s' if num_judgements > 1 else ''} of {_duration(judge_seconds)}"
    if num_judgements > 1 and judging > training:
        rarer = "--eval_steps 0.2 judges five times"
        if not may_stop:
            rarer = "--eval_strategy no judges at the end alone, --eval_steps 0.5 twice"
        words += f"; judging is most of it: {rarer}"
    return words


def _num_judgements(args: TrainingArguments, state: TrainerState) -> int:
    if args.eval_strategy == IntervalStrategy.EPOCH:
        return math.ceil(state.num_train_epochs - (state.epoch or 0))
    if args.eval_strategy == IntervalStrategy.STEPS:
        return (state.max_steps - state.global_step) // state.eval_steps
    return 0


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} minutes"
