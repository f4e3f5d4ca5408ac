"""`Trainer`'s own settings in a distillation: those without effect and numbers out of range are refused, and what only
student and judge decide is settled."""

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType

from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.registry import suggest

if TYPE_CHECKING:  # not at run time: --help reads the settings, and must not wait for Trainer and models
    from transformers import PreTrainedModel

    from smi_hf.distillation.config import SparseDistillationConfig
    from smi_hf.distillation.students import Student
    from smi_hf.models import Teacher

_TEXT = "it is for models of text"
_OWN_METRICS = "metrics are this trainer's own"
# Without effect here, or at odds with what this trainer does; by the reason. Not every transformers has each of them.
_REFUSED: dict[str, tuple[str, ...]] = {
    "the teacher's answers are softened by temperature alone": ("label_smoothing_factor",),
    _TEXT: (
        "group_by_length",
        "include_num_input_tokens_seen",
        "include_tokens_per_second",
        "neftune_noise_alpha",
        "past_index",
        "use_liger_kernel",
    ),
    _OWN_METRICS: (
        "batch_eval_metrics",
        "eval_do_concat_batches",
        "include_for_metrics",
        "include_inputs_for_metrics",
        "label_names",
        "prediction_loss_only",
    ),
    "predictions are made by smi-hf evaluate": ("do_predict",),
    "weights are written as safetensors alone": ("save_safetensors",),
    "published is the finished student alone, with its record and card": ("hub_always_push",),
}
_OFF = (None, False, "no")
# Of settings that early stopping settles otherwise: those of `TrainingArguments`.
_NEITHER_JUDGED_NOR_KEPT = {
    "eval_strategy": "no",
    "save_strategy": "steps",
    "save_steps": 500,
    "load_best_model_at_end": False,
}
# Long trainings and short ones are judged as often, whatever their epochs are.
_SHARE_BETWEEN_EVALUATIONS = 0.05
# Values of settings that have others which work.
_REFUSED_VALUES: dict[str, tuple[tuple[str, ...], str]] = {
    "train_sampling_strategy": (("group_by_length",), _TEXT),
    "hub_strategy": (
        ("checkpoint", "all_checkpoints"),
        "published is the finished student alone, with its record and card",
    ),
}

# What a number must be, how to check it, and which settings it holds for.
_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "above 0",
        lambda value: 0 < value < math.inf,
        ("learning_rate", "num_train_epochs", "logging_steps", "eval_steps", "save_steps", "adam_epsilon"),
    ),
    (
        "at least 0",
        lambda value: 0 <= value < math.inf,
        (
            "weight_decay", "max_grad_norm", "warmup_steps", "eval_delay", "dataloader_num_workers",
            "hard_label_weight", "feature_weight", "hidden_state_weight", "attention_weight",
        ),
    ),
    (
        "from 1 to 2**31 - 1",
        lambda value: 1 <= value < 2**31,
        (
            "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps",
            "eval_accumulation_steps", "save_total_limit", "dataloader_prefetch_factor", "torch_empty_cache_steps",
            "ddp_timeout", "num_images",
        ),
    ),
    ("from 0 to 2**31 - 1", lambda value: 0 <= value < 2**31, ("early_stopping_patience",)),
    ("from 0 to 100000", lambda value: 0 <= value <= 100_000, ("num_views",)),
    ("at least 0 and below 1", lambda value: 0 <= value < 1, ("adam_beta1", "adam_beta2")),
    ("from 0 to 1", lambda value: 0 <= value <= 1, ("warmup_ratio",)),
    ("above 0 and below 1", lambda value: 0 < value < 1, ("held_out",)),
    # Its square is a factor of the loss.
    ("above 0 and at most 10000", lambda value: 0 < value <= 10_000, ("temperature",)),
    ("from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32, ("seed", "data_seed")),
    ("from 1 to 2**31 - 1, or -1 for none", lambda value: value == -1 or 1 <= value < 2**31, ("max_steps",)),
)  # fmt: skip


def check_trainer_settings(args: TrainingArguments) -> None:
    """Checks what was given, before `TrainingArguments` make something else of it.

    Raises:
        UsageError: a setting would be ignored, or a number is out of range.
    """
    defaults = {field.name: _default(field) for field in dataclasses.fields(TrainingArguments)}
    for reason, names in _REFUSED.items():
        for name in names:
            if name in defaults and not _are_alike(getattr(args, name), defaults[name]):
                raise UsageError(f"{name} has no effect in a distillation: {reason}; leave it out")
    for name, (values, reason) in _REFUSED_VALUES.items():
        given = getattr(args, name, None)
        given = getattr(given, "value", given)
        if given in values:
            raise UsageError(f"{name} {given} has no effect in a distillation: {reason}; leave it out")
    for words, is_met, names in _RANGES:
        for name in names:
            check_number(name, getattr(args, name, None), words, is_met)


def check_number(name: str, value: Any, words: str, is_met: Callable[[float], bool]) -> None:
    """Checks a setting that is a number or None.

    Raises:
        UsageError: it is neither, or out of range; not-a-number is out of every range.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_met(value):
        raise UsageError(f"{name} must be {words}, but {value} was given")


def _are_alike(given: Any, default: Any) -> bool:
    """Whether a setting is left at its default, however "off" is written: argparse makes False of "no"."""
    return given == default or (given in _OFF and default in _OFF)


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def settle_evaluations(args: "SparseDistillationConfig") -> bool:
    """Settles when a student is judged and saved while it learns, where that was left open.

    Returns:
        Whether it is judged for the sake of early stopping alone.

    Raises:
        UsageError: what was given leaves early stopping nothing to judge by, or no checkpoint to go back to.
    """
    patience = args.early_stopping_patience
    if not patience:
        for name, value in _NEITHER_JUDGED_NOR_KEPT.items():
            if getattr(args, name) is None:
                setattr(args, name, value)
        return False
    is_open = args.eval_strategy is None
    args.eval_strategy = IntervalStrategy.STEPS.value if is_open else args.eval_strategy
    if args.eval_strategy == IntervalStrategy.NO:
        raise UsageError(
            f"early_stopping_patience is {patience}, but eval_strategy is 'no', so that nothing would say when to "
            f"stop; give steps or epoch, or leave one of them out"
        )
    if args.load_best_model_at_end is False:
        raise UsageError(
            f"early_stopping_patience is {patience}, which keeps the best student, but load_best_model_at_end is "
            f"false; leave one of them out"
        )
    if args.eval_strategy == IntervalStrategy.STEPS and not args.eval_steps:
        args.eval_steps = _SHARE_BETWEEN_EVALUATIONS
    if args.save_strategy is None and args.save_total_limit is None:
        args.save_total_limit = 1
    _save_as_judged(args, "save_strategy", args.eval_strategy)
    if args.eval_strategy == IntervalStrategy.STEPS:
        _save_as_judged(args, "save_steps", args.eval_steps)
    args.save_steps = args.save_steps or _NEITHER_JUDGED_NOR_KEPT["save_steps"]
    args.load_best_model_at_end = True
    # A run that was cut off goes on counting where it was.
    args.restore_callback_states_from_checkpoint = True
    return is_open


def _save_as_judged(args: "SparseDistillationConfig", name: str, wanted: Any) -> None:
    """Fills in when checkpoints are saved, if that is open; it must be when the student is judged."""
    if getattr(args, name) is None:
        setattr(args, name, wanted)
    elif (given := getattr(args, name)) != wanted:
        raise UsageError(
            f"early_stopping_patience goes back to the best evaluation, and needs a checkpoint of each: {name} is "
            f"{getattr(given, 'value', given)}, but {name.replace('save', 'eval')} is "
            f"{getattr(wanted, 'value', wanted)}; leave {name} out"
        )


def settled(
    args: TrainingArguments, student: "Student", teacher: "Teacher", *, is_judged_by_labels: bool
) -> TrainingArguments:
    """A copy of the settings with what only the student and its judge decide.

    Args:
        is_judged_by_labels: whether real images judge the student while it learns, or else held-out synthetic ones.
    """
    from smi_hf.distillation.students import has_unused_weights

    # Not dataclasses.replace: some fields of TrainingArguments are not what they were given as.
    args = copy.copy(args)
    if args.world_size > 1 and args.ddp_find_unused_parameters is None:
        # `Trainer` would look for unused weights at every step, and warn where there are none.
        args.ddp_find_unused_parameters = has_unused_weights(student, teacher.model.grid)
    names = ("top1", "top5") if is_judged_by_labels else ("agreement", "kl", "loss")
    metric = args.metric_for_best_model
    if metric is not None and metric.removeprefix("eval_") not in names:
        judge = "real images" if is_judged_by_labels else "synthetic images"
        raise UsageError(
            f"metric_for_best_model is {metric!r}{suggest(metric, list(names))}, but {judge} judge this student by "
            f"{', '.join(names[:-1])} and {names[-1]}"
        )
    is_needed = args.load_best_model_at_end or args.save_strategy == SaveStrategy.BEST
    if is_needed or args.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU:
        # Agreement on a handful of images is coarse, and the loss has parts and a temperature that settings change.
        args.metric_for_best_model = metric or ("kl" if args.early_stopping_patience else names[0])
    if args.greater_is_better is None and args.metric_for_best_model is not None:
        args.greater_is_better = not args.metric_for_best_model.endswith(("loss", "kl"))
    return args


def with_whole_steps(args: TrainingArguments, num_views: int) -> TrainingArguments:
    """A copy of the settings in which numbers stand for shares of all steps.

    `Trainer` makes them numbers, too, but then warns whenever a run goes on that those of its checkpoint are others.

    Args:
        num_views: that one epoch shows.
    """
    args = copy.copy(args)
    num_batches = num_views / (args.train_batch_size * args.world_size)
    num_batches = max(1, int(num_batches) if args.dataloader_drop_last else math.ceil(num_batches))
    num_steps = math.ceil(args.num_train_epochs * math.ceil(num_batches / args.gradient_accumulation_steps))
    num_steps = args.max_steps if args.max_steps > 0 else num_steps
    for name in ("logging_steps", "eval_steps", "save_steps"):
        share = getattr(args, name)
        if share is not None and 0 < share < 1:
            setattr(args, name, math.ceil(share * num_steps))
    return args


def check_optimizer(args: TrainingArguments, model: "PreTrainedModel") -> None:
    """Checks that the optimizer is installed, which `Trainer` asks at the first step."""
    from transformers import Trainer

    try:
        Trainer.get_optimizer_cls_and_kwargs(args, model)
    except (ImportError, ValueError, RuntimeError) as error:
        raise UsageError(f"optim {args.optim.value!r} cannot be used: {one_line(error)}") from error
