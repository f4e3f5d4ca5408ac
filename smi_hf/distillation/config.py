"""Settings of a distillation: those of `transformers.TrainingArguments`, and what is taught and how."""

import copy
from dataclasses import dataclass, field
from typing import Any, Self

from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType

from smi_hf.data.report_file import REPORT_OPTION
from smi_hf.distillation.losses import ANSWER_LOSSES
from smi_hf.distillation.options import DistillationOptions, by_preset
from smi_hf.distillation.presets import AUTO, DEFAULTS, HEAD, PRESETS, TRAINER, preset_settings
from smi_hf.distillation.shown import KEPT, SHOWN
from smi_hf.distillation.trainer_settings import check_trainer_settings, settle_evaluations
from smi_hf.distillation.views import AUGMENTATIONS
from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.images.controls.base import check_control_seeds
from smi_hf.registry import unknown_name

# Of Trainer's arguments, those that decide what a student learns.
_TRAINING = (
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "warmup_ratio",
    "weight_decay",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "dataloader_drop_last",
    "max_grad_norm",
    "bf16",
    "fp16",
    "data_seed",
    "load_best_model_at_end",
    "metric_for_best_model",
)
_TOKEN_LOSSES = ("feature_weight", "hidden_state_weight", "attention_weight")


@dataclass
class SparseDistillationConfig(DistillationOptions, TrainingArguments):
    """Settings of a `SparseDistillationTrainer`, and of `distill`, which makes one or several.

    What a preset chooses (`smi_hf.distillation.presets.DEFAULTS`) may be left open, as None. Until the trainer knows
    student and images and fills it in (`filled_in`), it reads as preset "trainer" has it.

    Raises:
        UsageError: a value is out of range, or two do not fit each other.
    """

    loss: str = field(default="kl", metadata={"help": "How answers are compared.", "choices": sorted(ANSWER_LOSSES)})
    shown: str = field(
        default=KEPT,
        metadata={
            "help": "What student and teacher are shown of sparse images: kept, their kept patches alone, which a "
            "student that cannot (a CNN, another patch grid) gets as an image with its gaps filled; or tiled, the "
            "patches of several images in a whole one, about as many tiles as images. Tiles are kept in memory.",
            "choices": SHOWN,
        },
    )
    augmentations: list[str] | None = field(
        default=None,
        metadata=by_preset(f"What makes a view of an image: {', '.join(AUGMENTATIONS)}; none with 'none'."),
    )
    report: bool = field(default=True, metadata=REPORT_OPTION)
    # Overrides: without the first, Trainer drops the kept patches.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay false: drops the kept patches."})
    report_to: None | str | list[str] = field(  # noqa: RUF036, HfArgumentParser wants None first
        default="none", metadata={"help": "Trackers: tensorboard, wandb, trackio, ..., all, or none."}
    )
    lr_scheduler_type: str | None = field(
        default=None,
        metadata=by_preset("How the learning rate goes on.", choices=[each.value for each in SchedulerType]),
    )
    eval_strategy: str | None = field(
        default=None,
        metadata={
            "help": "When the student is judged while it learns, on real images too where there are any. Default: no; "
            "with early_stopping_patience steps, on the held-out synthetic images alone.",
            "choices": [each.value for each in IntervalStrategy],
        },
    )
    save_strategy: str | None = field(
        default=None,
        metadata={
            "help": "When a checkpoint is saved. Default: steps; with early_stopping_patience as eval_strategy.",
            "choices": [each.value for each in SaveStrategy],
        },
    )
    save_steps: float | None = field(
        default=None,
        metadata={
            "help": "Steps between checkpoints, below 1 a share of all. Default: 500; with early_stopping_patience "
            "eval_steps."
        },
    )
    load_best_model_at_end: bool | None = field(
        default=None,
        metadata={
            "help": "Keep the student of the best evaluation, not the last. Default: with early_stopping_patience."
        },
    )
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "Checkpoint folder, of another output_dir, to begin from. An unfinished run in output_dir itself "
            "continues without being told."
        },
    )

    def __post_init__(self) -> None:
        self._open = tuple(name for name in DEFAULTS if getattr(self, name) is None)
        for name, value in preset_settings(TRAINER, num_images=1).items():
            if name in self._open:
                setattr(self, name, value)
        check_trainer_settings(self)
        self._is_judged_for_stopping_alone = settle_evaluations(self)
        metric, is_greater_better = self.metric_for_best_model, self.greater_is_better
        try:
            super().__post_init__()
        # ImportError: a precision or a launcher whose package is absent.
        except (ValueError, ImportError, RuntimeError, NotImplementedError, KeyError, TypeError) as error:
            raise UsageError(f"a setting of TrainingArguments does not fit: {one_line(error)}") from error
        # Which figures there are to choose by depends on what judges: the trainer knows.
        self.metric_for_best_model, self.greater_is_better = metric, is_greater_better
        self._check_names()
        self._settle_preset()
        check_control_seeds(self.control_seeds)
        if self.remove_unused_columns:
            raise UsageError("remove_unused_columns must be false: the kept patches would be dropped")
        if self.freeze_backbone and (given := self.token_losses):
            raise UsageError(
                f"{' and '.join(given)} teach the backbone, but freeze_backbone lets only the head learn; leave one "
                f"of them out"
            )
        self._settle_views()

    def _check_names(self) -> None:
        if self.loss not in ANSWER_LOSSES:
            raise unknown_name("loss", self.loss, sorted(ANSWER_LOSSES))
        if self.shown not in SHOWN:
            raise unknown_name("way of showing images", self.shown, SHOWN)
        if self.augmentations == ["none"]:
            self.augmentations = []
        if "none" in self.augmentations:
            raise UsageError(f"augmentations are {self.augmentations}, but 'none' stands alone; leave out the others")
        for name in self.augmentations:
            if name not in AUGMENTATIONS:
                raise unknown_name("augmentation", name, list(AUGMENTATIONS))
        # Here, not above: --help reads the settings, and must not wait for every model of transformers.
        from transformers.integrations import (
            get_available_reporting_integrations,
            get_reporting_integration_callbacks,
        )

        trackers = [self.report_to] if isinstance(self.report_to, str) else list(self.report_to or ())
        for name in trackers:
            try:
                get_reporting_integration_callbacks([name] if name not in ("none", "all") else name)
            except ValueError as error:
                raise UsageError(f"report_to {name!r} is no tracker: {one_line(error)}") from error
            if name not in ("none", "all", *get_available_reporting_integrations()):
                raise UsageError(
                    f"report_to {name!r} needs a package that is not installed; install it, or leave it out"
                )

    def _settle_preset(self) -> None:
        if self.preset not in (AUTO, *PRESETS):
            raise unknown_name("preset", self.preset, [AUTO, *PRESETS])
        if self.preset == HEAD:
            self.freeze_backbone = True
        elif self.freeze_backbone and self.preset not in (AUTO, TRAINER):
            raise UsageError(
                f"preset {self.preset} teaches the backbone, but freeze_backbone lets only the head learn; leave one "
                f"of them out"
            )

    @property
    def is_open(self) -> bool:
        """Whether a preset has yet to fill in a setting."""
        return bool(self._open)

    def filled_in(self, preset: str, num_images: int, *, compares_layers: bool = True) -> Self:
        """A copy in which a preset has filled in what was left open.

        Args:
            preset: one of `PRESETS`.
            num_images: that teach.
            compares_layers: whether the student's layers can be compared with the teacher's.
        """
        # Not dataclasses.replace: some fields of TrainingArguments are not what they were given as.
        filled = copy.copy(self)
        chosen = preset_settings(preset, num_images)
        chosen["lr_scheduler_type"] = SchedulerType(chosen["lr_scheduler_type"])
        if not compares_layers:
            chosen["hidden_state_weight"] = 0.0
        if "augmentations" not in self._open and not self.augmentations:
            chosen["num_views"] = 1  # all views would be alike
        for name in self._open:
            setattr(filled, name, chosen[name])
        filled.preset, filled._open = preset, ()
        filled._settle_views()
        return filled

    def _settle_views(self) -> None:
        if self.freeze_backbone and self.num_views == 0:
            self.num_views = 16 if self.augmentations else 1
        if not self.augmentations:
            if self.num_views > 1:
                raise UsageError(
                    f"num_views is {self.num_views}, but without augmentations all views are alike; give "
                    f"augmentations, or leave num_views out"
                )
            self.num_views = 1

    @property
    def stops_early(self) -> bool:
        """Whether held-out images decide when to stop, and which student is kept."""
        return bool(self.early_stopping_patience)

    @property
    def draws_curve(self) -> bool:
        """Whether real images, if there are any, judge the student while it learns, and not at the end alone."""
        return self.eval_strategy != IntervalStrategy.NO and not self._is_judged_for_stopping_alone

    @property
    def token_losses(self) -> list[str]:
        """Which weights were given of losses that compare tokens, and so teach the backbone."""
        return [name for name in _TOKEN_LOSSES if getattr(self, name)]

    @property
    def distillation_settings(self) -> dict[str, Any]:
        """What decides what a student learns, beside Trainer's own arguments; a resumed run must not change it."""
        names = ("temperature", "loss", "hard_label_weight", *_TOKEN_LOSSES, "freeze_backbone", "shown")
        settings = {name: getattr(self, name) for name in (*names, "augmentations", "num_views", "seed")}
        # 0 says the same as None.
        return settings | {"early_stopping_patience": self.early_stopping_patience or None}

    @property
    def training_settings(self) -> dict[str, Any]:
        """Trainer's own arguments that decide what a student learns, as JSON has them."""
        values = self.to_dict()
        return {name: values[name] for name in _TRAINING if name in values} | {"num_processes": self.world_size}
