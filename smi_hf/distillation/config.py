"""Settings of a distillation: those of `transformers.TrainingArguments`, and what is taught and how."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from smi_hf.distillation.losses import ANSWER_LOSSES
from smi_hf.distillation.views import AUGMENTATIONS
from smi_hf.errors import UsageError
from smi_hf.registry import suggest

_TOKEN_LOSSES = ("feature_weight", "hidden_state_weight", "attention_weight")


@dataclass
class SparseDistillationConfig(TrainingArguments):
    """Settings of a `SparseDistillationTrainer`.

    Raises:
        UsageError: a value is out of range, or two do not fit each other.
    """

    temperature: float = field(
        default=20.0, metadata={"help": "Softens both answers before they are compared (the paper: 20)."}
    )
    loss: str = field(default="kl", metadata={"help": "How answers are compared.", "choices": sorted(ANSWER_LOSSES)})
    hard_label_weight: float = field(
        default=0.0, metadata={"help": "Weight of the cross entropy with the images' labels."}
    )
    feature_weight: float = field(
        default=0.0, metadata={"help": "Weight of matching how tokens of the last layer lie to each other."}
    )
    hidden_state_weight: float = field(
        default=0.0,
        metadata={"help": "Weight of matching every layer's tokens; for a student of the teacher's architecture."},
    )
    attention_weight: float = field(
        default=0.0, metadata={"help": "Weight of matching the CLS token's attention in the last block."}
    )
    freeze_backbone: bool = field(
        default=False,
        metadata={"help": "Only the head learns (the paper's setting). What it reads is computed once a view."},
    )
    augmentations: list[str] = field(
        default_factory=lambda: ["flip", "shift", "color"],
        metadata={"help": f"What makes a view of an image: {', '.join(AUGMENTATIONS)}; none with 'none'."},
    )
    num_views: int = field(
        default=0,
        metadata={
            "help": "Views of an image, drawn once, whose teacher's answers are computed once; one epoch shows them "
            "all, and the first is the image as it is. 0 draws a new view each epoch and runs the teacher at every "
            "step, which with frozen backbone is never worth it: there 0 means 16."
        },
    )
    held_out: float = field(
        default=0.1,
        metadata={"help": "Share of the synthetic images that agreement is judged on where no real set is given."},
    )
    other_teacher: bool = field(
        default=False, metadata={"help": "Accept images that were inverted from another model than the teacher."}
    )
    # Overrides: without the first, Trainer drops the kept patches.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay false: drops the kept patches."})
    report_to: None | str | list[str] = field(  # noqa: RUF036, HfArgumentParser wants None first
        default="none", metadata={"help": "Trackers: tensorboard, wandb, trackio, ..., all, or none."}
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "Initial learning rate."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in ANSWER_LOSSES:
            names = sorted(ANSWER_LOSSES)
            hint = suggest(self.loss, names)
            raise UsageError(f"there is no loss {self.loss!r}{hint}; available: {', '.join(names)}")
        if self.augmentations == ["none"]:
            self.augmentations = []
        if "none" in self.augmentations:
            raise UsageError(f"augmentations are {self.augmentations}, but 'none' stands alone; leave out the others")
        for name in self.augmentations:
            if name not in AUGMENTATIONS:
                raise UsageError(
                    f"there is no augmentation {name!r}{suggest(name, list(AUGMENTATIONS))}; available: "
                    f"{', '.join(AUGMENTATIONS)}"
                )
        if not self.temperature > 0:
            raise UsageError(f"temperature must be above 0, but {self.temperature} was given")
        for name in ("hard_label_weight", *_TOKEN_LOSSES, "num_views"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative, but {getattr(self, name)} was given")
        if not 0 < self.held_out < 1:
            raise UsageError(f"held_out is a share of the images between 0 and 1, but {self.held_out} was given")
        if self.remove_unused_columns:
            raise UsageError("remove_unused_columns must be false: the kept patches would be dropped")
        if self.freeze_backbone and (given := self.token_losses):
            raise UsageError(
                f"{' and '.join(given)} teach the backbone, but freeze_backbone lets only the head learn; leave one "
                f"of them out"
            )
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
    def distillation_settings(self) -> dict[str, object]:
        """What decides what a student learns, beside Trainer's own arguments; a resumed run must not change it."""
        names = ("temperature", "loss", "hard_label_weight", *_TOKEN_LOSSES, "freeze_backbone")
        return {name: getattr(self, name) for name in (*names, "augmentations", "num_views", "seed")}
