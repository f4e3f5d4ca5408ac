"""What an inversion run can be told. Every option is described once, in its help."""

import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, TypeVar, get_type_hints

from smi_hf.data.record_checks import MAX_SEED
from smi_hf.data.schema import MAX_IMAGES
from smi_hf.errors import UsageError
from smi_hf.losses.base import LOSSES, needs_of
from smi_hf.patches.policies.base import POLICIES
from smi_hf.patches.schedule import PruneSchedule

# The paper's 1e-4 weighs one norm over a batch of 32 against a mean over it; ours are sums over images.
PAPER_TV_WEIGHT = 1e-4 * 32**0.5

MIXED_PRECISIONS = ("no", "bf16")

MAX_STEPS = 1_000_000

MEMORY_IMAGES = 256

# Options that name what loss terms borrow, and what the terms ask for by `smi_hf.losses.base.NEEDS`.
HELPER_OPTIONS = {
    "batch_norm_model": "batch_statistics",
    "student_model": "student_logits_BL",
    "memory_dataset": "memory_MD",
}
# What only the inside of the teacher tells.
_INSIDE = {"attentions", "head_outputs", "features_BD"}

# An option that changes what a run shows, where it writes or how fast it is, never an image: a run may be continued
# with others. Not in the field's metadata, all of which argparse would get.
_RUN_ONLY = "run only"
_Type = TypeVar("_Type")
RunOnly = Annotated[_Type, _RUN_ONLY]
# An option that names what is loaded: a record says what it was found to be, not where it lay.
NotAsGiven = Annotated[_Type, _RUN_ONLY]


@dataclass
class SparseInversionConfig:
    """Settings of a `SparseInversionTrainer`; `HfArgumentParser` makes command line options of them.

    The defaults are the paper's (arXiv 2510.27186, appendix), except the number of steps.

    Raises:
        UsageError: a value is out of range, or two do not fit each other.
    """

    output_dir: RunOnly[str] = field(
        default="smi-dataset",
        metadata={
            "help": "Folder for the dataset; load_dataset(output_dir) reads it. An unfinished run is continued."
        },
    )
    overwrite_output_dir: RunOnly[bool] = field(
        default=False, metadata={"help": "Discard the dataset that output_dir holds, whatever its settings were."}
    )
    num_images: int = field(default=32, metadata={"help": "Number of synthetic images."})
    num_steps: int = field(
        default=400,
        metadata={"help": "Optimization steps an image. A few hundred do for calibration; the paper runs 4000."},
    )
    batch_size: RunOnly[int] = field(
        default=32,
        metadata={
            "help": "Images optimized together in a process; halved, with a warning, if memory runs out. A run may be "
            "continued with another."
        },
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
    batch_norm_model: NotAsGiven[str | None] = field(
        default=None,
        metadata={
            "help": "Convolutional classifier, Hub id or folder, whose batch-norm statistics the images are to have; "
            "for the term batch_norm."
        },
    )
    student_model: NotAsGiven[str | None] = field(
        default=None,
        metadata={
            "help": "Classifier of the same labels, Hub id or folder, that the images are to confuse; for the term "
            "disagreement."
        },
    )
    helper_allow_pickle: RunOnly[bool] = field(
        default=False,
        metadata={
            "help": "Load batch_norm_model and student_model from a pickle, which can run any code, if need be."
        },
    )
    memory_dataset: NotAsGiven[str | None] = field(
        default=None,
        metadata={
            "help": "Sparse dataset of the same teacher, Hub id or folder, that the images are to differ from; for "
            "the term contrast."
        },
    )
    memory_images: NotAsGiven[int] = field(
        default=MEMORY_IMAGES, metadata={"help": "How many images of memory_dataset are remembered at most."}
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
    report_to: RunOnly[list[str]] = field(
        default_factory=lambda: ["none"],
        metadata={"help": "Trackers that get the loss parts (tensorboard, wandb, trackio, ...), 'all', or 'none'."},
    )
    logging_steps: RunOnly[int] = field(
        default=10, metadata={"help": "Steps between two reports to the bar and the trackers."}
    )
    num_preview_images: RunOnly[int] = field(
        default=32, metadata={"help": "Images shown in preview.png; 0 for no preview."}
    )
    disable_tqdm: RunOnly[bool] = field(default=False, metadata={"help": "Show no progress bar."})
    push_to_hub: RunOnly[bool] = field(
        default=False,
        metadata={
            "help": "Publish the finished dataset as hub_dataset_id. Token, name and write access are checked, and "
            "the repository is made, before the first step. The token is that of hf auth login, or HF_TOKEN."
        },
    )
    hub_dataset_id: RunOnly[str | None] = field(
        default=None,
        metadata={"help": "Repository to publish in. Default: the name of output_dir, of yours."},
    )
    hub_private_repo: RunOnly[bool] = field(
        default=False, metadata={"help": "Make it a private repository, if it is made."}
    )
    hub_revision: RunOnly[str | None] = field(
        default=None, metadata={"help": "Branch to publish in; made if need be."}
    )

    def __post_init__(self) -> None:
        # One word is plausible in Python, and would be taken for a list of letters.
        for name in ("classes", "report_to", "loss_weights"):
            if isinstance(getattr(self, name), str):
                setattr(self, name, [getattr(self, name)])
        self._check_numbers()
        self._require(bool(self.output_dir) and "\0" not in self.output_dir, "output_dir", "must be a path")
        self._require(
            self.mixed_precision is None or self.mixed_precision in MIXED_PRECISIONS,
            "mixed_precision",
            f"must be one of {', '.join(MIXED_PRECISIONS)}",
        )
        self._require(bool(self.classes), "classes", "must name 'random', 'balanced', or at least one label")
        self._require(bool(self.report_to), "report_to", "must name at least one tracker, or be 'none'")
        self._require(
            len(self.report_to) == 1 or not {"none", "all"} & set(self.report_to),
            "report_to",
            "takes 'none' and 'all' alone",
        )
        for name in ("hub_dataset_id", "hub_private_repo", "hub_revision"):
            value = getattr(self, name)
            self._require(value != "", name, "must not be empty")
            if value and not self.push_to_hub:
                raise UsageError(f"{name} says how to publish the dataset, but push_to_hub was not given; give both")
        POLICIES.get(self.policy)
        self._require(
            self.policy != "dense" or (self.prune_steps is None and self.prune_ratios is None),
            "policy",
            "keeps every patch, so prune_steps and prune_ratios must not be given with it",
        )
        # Built now for their errors: a wrong value should not wait for the checkpoint to load.
        self.prune_schedule, self.term_weights  # noqa: B018
        self._check_needs()

    def _check_needs(self) -> None:
        """Checks that what the loss terms ask for is there, and that what is there is asked for."""
        given = {item.partition("=")[0] for item in self.loss_weights or ()}
        # Terms with an option of their own need nothing, and need not be imported, which takes torch.
        weights = {name: weight for name, weight in self.term_weights.items() if name in given}
        needs = needs_of(weights)
        for option, need in HELPER_OPTIONS.items():
            value = getattr(self, option)
            self._require(value is None or bool(value.strip()), option, "must name a Hub id or a folder")
            if need in needs and value is None:
                name = next(name for name, weight in weights.items() if weight and need in LOSSES.get(name).needs)
                raise UsageError(
                    f"the loss term {name} needs {option}, but it was not given; give a Hub id or a folder"
                )
            if value is not None and need not in needs:
                askers = [name for name in LOSSES.names() if need in LOSSES.get(name).needs]
                raise UsageError(
                    f"{option} was given, but no loss term uses it; give one a weight, for instance --loss_weights "
                    f"{askers[0]}=1"
                )
        if self.memory_images != MEMORY_IMAGES and self.memory_dataset is None:
            raise UsageError("memory_images was given, but memory_dataset was not; give both, or neither")
        if self.helper_allow_pickle and self.batch_norm_model is None and self.student_model is None:
            raise UsageError(
                "helper_allow_pickle was given, but neither batch_norm_model nor student_model was; give one of them, "
                "or leave it out"
            )
        inside = [name for name, weight in weights.items() if weight and _INSIDE.intersection(LOSSES.get(name).needs)]
        if self.compile and inside:
            raise UsageError(
                f"compile was given, but {' and '.join(inside)} look into the teacher, which a compiled one does not "
                f"show; leave out one of them"
            )

    def _check_numbers(self) -> None:
        bounds = {
            "num_images": (1, MAX_IMAGES),
            "num_steps": (1, MAX_STEPS),
            "batch_size": (1, math.inf),
            "logging_steps": (1, math.inf),
            "seed": (0, MAX_SEED),
            "num_preview_images": (0, math.inf),
            "memory_images": (1, MAX_IMAGES),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            self._require(isinstance(value, int) and not isinstance(value, bool), name, "must be an integer")
            self._require(value >= low, name, f"must be at least {low}" if low else "must not be negative")
            self._require(value <= high, name, f"must be at most {high}")
        for name in ("tv_weight", "l2_weight"):
            self._require(0 <= getattr(self, name) < math.inf, name, "must not be negative, and be finite")
        for name in ("adam_beta1", "adam_beta2", "max_shift"):
            self._require(0 <= getattr(self, name) < 1, name, "must be in [0, 1)")
        self._require(0 <= self.flip_probability <= 1, "flip_probability", "must be in [0, 1]")
        self._require(0 < self.learning_rate < math.inf, "learning_rate", "must be positive, and finite")

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
            self._require(0 <= weights[name] < math.inf, "loss_weights", "must not be negative, and be finite")
        if not any(weights.values()):
            raise UsageError("the weight of every loss term is 0, so there is nothing to optimize; give one a weight")
        return weights

    def image_settings(self) -> dict[str, Any]:
        """The options that decide what the images are, with defaults resolved: equal settings, equal images.

        What loss terms borrow is not among them; `Helpers.settings` says what it is.
        """
        hints = get_type_hints(type(self), include_extras=True)
        run_only = {name for name, hint in hints.items() if _RUN_ONLY in getattr(hint, "__metadata__", ())}
        settings = {name: value for name, value in asdict(self).items() if name not in run_only}
        schedule = self.prune_schedule
        settings |= {"prune_steps": list(schedule.steps), "prune_ratios": list(schedule.ratios)}
        return settings
