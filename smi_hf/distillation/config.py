"""Settings of a distillation: those of `transformers.TrainingArguments`, and what is taught and how."""

import copy
from dataclasses import dataclass, field
from typing import Any, Self

from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType

from smi_hf.data.report_file import REPORT_OPTION
from smi_hf.distillation.losses import ANSWER_LOSSES
from smi_hf.distillation.presets import AUTO, DEFAULTS, HEAD, PRESETS, TRAINER, preset_settings
from smi_hf.distillation.trainer_settings import check_trainer_settings
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


def _help(words: str, **more: Any) -> dict[str, Any]:
    """Metadata of a field that `preset` fills in where it is None."""
    return {"help": f"{words} Default: as preset chooses.", **more}


@dataclass
class SparseDistillationConfig(TrainingArguments):
    """Settings of a `SparseDistillationTrainer`, and of `distill`, which makes one or several.

    What a preset chooses (`smi_hf.distillation.presets.DEFAULTS`) may be left open, as None. Until the trainer knows
    student and images and fills it in (`filled_in`), it reads as preset "trainer" has it.

    Raises:
        UsageError: a value is out of range, or two do not fit each other.
    """

    preset: str = field(
        default=AUTO,
        metadata={
            "help": "Chooses what is left open of epochs, batch, learning rate and its schedule, temperature, "
            "augmentations, views and hidden_state_weight, from the number of images and from what is taught: a head "
            "on a frozen backbone, a pruned teacher or layers of it (recover), another checkpoint (finetune), or "
            "scratch. auto looks at the student; trainer takes the values of TrainingArguments.",
            "choices": [AUTO, *PRESETS],
        },
    )
    temperature: float | None = field(
        default=None, metadata=_help("Softens both answers before they are compared (the paper: 20).")
    )
    loss: str = field(default="kl", metadata={"help": "How answers are compared.", "choices": sorted(ANSWER_LOSSES)})
    hard_label_weight: float = field(
        default=0.0, metadata={"help": "Weight of the cross entropy with the images' labels."}
    )
    feature_weight: float = field(
        default=0.0, metadata={"help": "Weight of matching how tokens of the last layer lie to each other."}
    )
    hidden_state_weight: float | None = field(
        default=None,
        metadata=_help(
            "Weight of matching every layer's tokens with those of one of the teacher's layers; for a student of the "
            "teacher's hidden size and of no more layers."
        ),
    )
    attention_weight: float = field(
        default=0.0, metadata={"help": "Weight of matching the CLS token's attention in the last block."}
    )
    freeze_backbone: bool = field(
        default=False,
        metadata={"help": "Only the head learns (the paper's setting). What it reads is computed once a view."},
    )
    augmentations: list[str] | None = field(
        default=None, metadata=_help(f"What makes a view of an image: {', '.join(AUGMENTATIONS)}; none with 'none'.")
    )
    num_views: int | None = field(
        default=None,
        metadata=_help(
            "Views of an image, drawn once, whose teacher's answers are computed once; one epoch shows them all, and "
            "the first is the image as it is. 0 draws a new view each epoch and runs the teacher at every step, which "
            "with frozen backbone is never worth it: there 0 means 16."
        ),
    )
    held_out: float = field(
        default=0.1,
        metadata={"help": "Share of the synthetic images that agreement is judged on where no real set is given."},
    )
    other_teacher: bool = field(
        default=False, metadata={"help": "Accept images that were inverted from another model than the teacher."}
    )
    num_images: int | None = field(
        default=None, metadata={"help": "Teach on that many images, the first. Default: all."}
    )
    control_seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={
            "help": "Seeds of the controls of distill (noise, choice of real images, random patches): one run each."
        },
    )
    report: bool = field(default=True, metadata=REPORT_OPTION)
    # Overrides: without the first, Trainer drops the kept patches.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay false: drops the kept patches."})
    report_to: None | str | list[str] = field(  # noqa: RUF036, HfArgumentParser wants None first
        default="none", metadata={"help": "Trackers: tensorboard, wandb, trackio, ..., all, or none."}
    )
    learning_rate: float | None = field(default=None, metadata=_help("Initial learning rate."))
    num_train_epochs: float | None = field(default=None, metadata=_help("Epochs: how often each view is seen."))
    per_device_train_batch_size: int | None = field(default=None, metadata=_help("Views in a batch of each process."))
    lr_scheduler_type: str | None = field(
        default=None, metadata=_help("How the learning rate goes on.", choices=[each.value for each in SchedulerType])
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Discard the student that output_dir holds, whatever its settings were. Otherwise the same "
            "settings continue an unfinished run from its last complete checkpoint, teach nothing again if it is "
            "finished, and other settings are refused, as is a folder with files of other origin."
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
    def token_losses(self) -> list[str]:
        """Which weights were given of losses that compare tokens, and so teach the backbone."""
        return [name for name in _TOKEN_LOSSES if getattr(self, name)]

    @property
    def distillation_settings(self) -> dict[str, Any]:
        """What decides what a student learns, beside Trainer's own arguments; a resumed run must not change it."""
        names = ("temperature", "loss", "hard_label_weight", *_TOKEN_LOSSES, "freeze_backbone")
        return {name: getattr(self, name) for name in (*names, "augmentations", "num_views", "seed")}

    @property
    def training_settings(self) -> dict[str, Any]:
        """Trainer's own arguments that decide what a student learns, as JSON has them."""
        values = self.to_dict()
        return {name: values[name] for name in _TRAINING if name in values} | {"num_processes": self.world_size}
