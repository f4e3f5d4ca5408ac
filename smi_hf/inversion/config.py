"""What an inversion run can be told. Every option is described once, in its help."""

from dataclasses import asdict, dataclass, field
from typing import Any

from smi_hf.errors import UsageError
from smi_hf.losses.base import LOSSES
from smi_hf.patches.policies.base import POLICIES
from smi_hf.patches.schedule import PruneSchedule

# The paper's 1e-4 weighs one norm over a batch of 32 against a mean over it; ours are sums over images.
PAPER_TV_WEIGHT = 1e-4 * 32**0.5

MIXED_PRECISIONS = ("no", "bf16")

# Options that change what a run shows or where it writes, never an image: a run may be continued with others.
RUN_ONLY_OPTIONS = frozenset(
    {
        "output_dir",
        "overwrite_output_dir",
        "report_to",
        "logging_steps",
        "disable_tqdm",
        "num_preview_images",
        "push_to_hub",
        "hub_dataset_id",
        "hub_private_repo",
        "hub_revision",
    }
)


@dataclass
class SparseInversionConfig:
    """Settings of a `SparseInversionTrainer`; `HfArgumentParser` makes command line options of them.

    The defaults are the paper's (arXiv 2510.27186, appendix), but for the number of steps.

    Raises:
        UsageError: a value is out of range, or two do not fit each other.
    """

    output_dir: str = field(
        default="smi-dataset",
        metadata={
            "help": "Folder for the dataset; load_dataset(output_dir) reads it. An unfinished run is continued."
        },
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Discard the dataset that output_dir holds, whatever its settings were."}
    )
    num_images: int = field(default=32, metadata={"help": "Number of synthetic images."})
    num_steps: int = field(
        default=400,
        metadata={"help": "Optimisation steps an image. A few hundred do for calibration; the paper runs 4000."},
    )
    batch_size: int = field(
        default=32,
        metadata={"help": "Images optimised together in a process; halved, with a warning, if memory runs out."},
    )
    seed: int = field(default=0, metadata={"help": "Seed of the run; image i has a random stream of its own from it."})
    classes: list[str] = field(
        default_factory=lambda: ["random"],
        metadata={
            "help": "Target labels: 'random', 'balanced' (each class equally often), or a list of label numbers or "
            "names that is repeated in turn."
        },
    )
    policy: str = field(
        default="smi",
        metadata={
            "help": "How patches are chosen: 'smi' keeps those with the highest CLS attention, 'random' and 'dense' "
            "are controls.",
            "choices": POLICIES.names(),
        },
    )
    prune_steps: list[int] | None = field(
        default=None,
        metadata={
            "help": "Steps after which patches are dropped. Default: the paper's 50 100 200 300 from 400 steps on, "
            "the same fractions (1/8 1/4 1/2 3/4) of a shorter run."
        },
    )
    prune_ratios: list[float] | None = field(
        default=None,
        metadata={
            "help": "Fraction of the remaining patches that each prune drops; one for all, or one a step (0.3)."
        },
    )
    learning_rate: float = field(default=0.25, metadata={"help": "Learning rate of Adam over the pixels."})
    adam_beta1: float = field(default=0.5, metadata={"help": "Decay of Adam's first moment."})
    adam_beta2: float = field(default=0.99, metadata={"help": "Decay of Adam's second moment."})
    tv_weight: float = field(
        default=PAPER_TV_WEIGHT,
        metadata={"help": "Weight of the total variation of kept patches (the paper's 1e-4 at batch 32, an image)."},
    )
    l2_weight: float = field(default=0.0, metadata={"help": "Weight of the L2 norm of kept pixels."})
    loss_weights: list[str] | None = field(
        default=None,
        metadata={"help": f"Weights of loss terms as NAME=WEIGHT; registered terms: {', '.join(LOSSES.names())}."},
    )
    max_shift: float = field(
        default=1 / 8, metadata={"help": "Largest random roll in a step, as a fraction of the image side."}
    )
    flip_probability: float = field(
        default=0.5,
        metadata={"help": "How often an image is mirrored in a step; 0 if the model tells left from right (digits)."},
    )
    mixed_precision: str | None = field(
        default=None,
        metadata={
            "help": "Precision of the teacher's forward and backward pass. Default: what accelerate launch says, "
            "else 'no' (float32).",
            "choices": MIXED_PRECISIONS,
        },
    )
    compile: bool = field(
        default=False, metadata={"help": "Compile the teacher with torch.compile, once for each number of patches."}
    )
    report_to: list[str] = field(
        default_factory=lambda: ["none"],
        metadata={"help": "Trackers that get the loss parts (tensorboard, wandb, trackio, ...), 'all', or 'none'."},
    )
    logging_steps: int = field(default=10, metadata={"help": "Steps between two reports to the bar and the trackers."})
    num_preview_images: int = field(default=32, metadata={"help": "Images shown in preview.png; 0 for no preview."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})
    push_to_hub: bool = field(
        default=False,
        metadata={
            "help": "Publish the finished dataset as hub_dataset_id. Token, name and write access are checked, and "
            "the repository is made, before the first step. The token is that of hf auth login, or HF_TOKEN."
        },
    )
    hub_dataset_id: str | None = field(
        default=None,
        metadata={"help": "Repository to publish in. Default: the name of output_dir, of yours."},
    )
    hub_private_repo: bool = field(default=False, metadata={"help": "Make it a private repository, if it is made."})
    hub_revision: str | None = field(default=None, metadata={"help": "Branch to publish in; made if need be."})

    def __post_init__(self) -> None:
        for name in ("num_images", "num_steps", "batch_size", "logging_steps"):
            self._require(getattr(self, name) >= 1, name, "must be at least 1")
        for name in ("seed", "tv_weight", "l2_weight", "num_preview_images"):
            self._require(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("adam_beta1", "adam_beta2", "max_shift"):
            self._require(0 <= getattr(self, name) < 1, name, "must be in [0, 1)")
        self._require(0 <= self.flip_probability <= 1, "flip_probability", "must be in [0, 1]")
        self._require(self.learning_rate > 0, "learning_rate", "must be positive")
        self._require(
            self.mixed_precision is None or self.mixed_precision in MIXED_PRECISIONS,
            "mixed_precision",
            f"must be one of {', '.join(MIXED_PRECISIONS)}",
        )
        self._require(bool(self.classes), "classes", "must name 'random', 'balanced', or at least one label")
        for name in ("hub_dataset_id", "hub_private_repo", "hub_revision"):
            if getattr(self, name) and not self.push_to_hub:
                raise UsageError(f"{name} says how to publish the dataset, but push_to_hub was not given; give both")
        POLICIES.get(self.policy)
        self._require(
            self.policy != "dense" or (self.prune_steps is None and self.prune_ratios is None),
            "policy",
            "keeps every patch, so prune_steps and prune_ratios must not be given with it",
        )
        # Built now for their errors: a wrong value should not wait for the checkpoint to load.
        self.prune_schedule, self.term_weights  # noqa: B018

    def _require(self, is_met: bool, name: str, rule: str) -> None:
        if not is_met:
            raise UsageError(f"{name} {rule}, but {getattr(self, name)!r} was given")

    @property
    def prune_schedule(self) -> PruneSchedule:
        """The schedule as given, or the default for this number of steps."""
        if self.policy == "dense":
            return PruneSchedule()
        return PruneSchedule.resolve(self.num_steps, self.prune_steps, self.prune_ratios)

    @property
    def term_weights(self) -> dict[str, float]:
        """Weight of each loss term in use, by its registered name."""
        weights = {"cross_entropy": 1.0, "total_variation": self.tv_weight, "l2": self.l2_weight}
        for item in self.loss_weights or ():
            name, _, weight = item.partition("=")
            LOSSES.get(name)
            try:
                weights[name] = float(weight)
            except ValueError:
                raise UsageError(
                    f"loss_weights takes NAME=WEIGHT, for instance l2=1e-5, but {item!r} was given"
                ) from None
        return weights

    def image_settings(self) -> dict[str, Any]:
        """The options that decide what the images are, with defaults resolved: equal settings, equal images."""
        settings = {name: value for name, value in asdict(self).items() if name not in RUN_ONLY_OPTIONS}
        schedule = self.prune_schedule
        settings |= {"prune_steps": list(schedule.steps), "prune_ratios": list(schedule.ratios)}
        return settings
