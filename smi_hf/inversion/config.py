"""What an inversion run can be told. Every option is described once, in its help."""

import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Self, TypeVar, get_type_hints

from smi_hf.data.record_checks import MAX_SEED
from smi_hf.data.report_file import REPORT_OPTION
from smi_hf.data.schema import MAX_IMAGES
from smi_hf.errors import UsageError
from smi_hf.inversion.borrowed import MEMORY_IMAGES, check_borrowed
from smi_hf.inversion.lr_schedules import LR_SCHEDULES
from smi_hf.inversion.moves.base import MOVES, read_options
from smi_hf.inversion.presets import preset_options
from smi_hf.losses.base import LOSSES
from smi_hf.patches.policies.base import POLICIES
from smi_hf.patches.schedule import PruneSchedule
from smi_hf.patches.shares import ShareSchedule
from smi_hf.registry import unknown_name
from smi_hf.starts.base import STARTS, StartSpec

# The paper's 1e-4 weighs one norm over a batch of 32 against a mean over it; ours are sums over images.
PAPER_TV_WEIGHT = 1e-4 * 32**0.5

MIXED_PRECISIONS = ("no", "bf16")

MAX_STEPS = 1_000_000
MAX_VIEWS = 1_000

# Images of a trajectory of Patch Rebirth: a quarter of the patches each, which the paper calls a sparsity of 75 %.
DEFAULT_STAGES = 4

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
        metadata={
            "help": "Optimization steps an image. A few hundred do for calibration; the paper runs 4000. 0 writes "
            "what images begin as, every patch kept."
        },
    )
    start: str = field(
        default="noise",
        metadata={
            "help": f"What images begin as: {', '.join(STARTS.names())}. Those with an argument are written "
            f"NAME=ARGUMENT."
        },
    )
    batch_size: RunOnly[int] = field(
        default=32,
        metadata={
            "help": "Images optimized together in a process. With policy pri: trajectories, each of which gives "
            "several. Halved, with a warning, if memory runs out. A run may be continued with another."
        },
    )
    seed: int = field(
        default=0,
        metadata={
            "help": "Seed of the run. Image (with policy pri: trajectory) i has a random stream of its own from it."
        },
    )
    classes: list[str] = field(
        default_factory=lambda: ["random"],
        metadata={
            "help": "Target labels: 'random', 'balanced' (each class equally often), or a list of numbers or names, "
            "which is repeated. With policy pri one label a trajectory, which its images share."
        },
    )
    policy: str = field(
        default="smi",
        metadata={
            "help": "How patches are chosen. 'smi' keeps those with the highest CLS attention; with 'pri' they leave "
            "as a finished image and the others go on, for several images of disjoint patches (Patch Rebirth); "
            "'random' and 'dense' are controls.",
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
    images_per_trajectory: int | None = field(
        default=None,
        metadata={
            "help": f"With policy pri: images that one trajectory gives, V ({DEFAULT_STAGES}). Each has 1/V of the "
            f"patches, and takes 1/V of the steps longer than the one before. What cannot be shared equally is left "
            f"out: patches of the lowest attention, and steps at the end. num_images must be a multiple of V."
        },
    )
    move: str = field(
        default="pixels",
        metadata={
            "help": "How an image moves in a step: 'pixels' is Adam over pixels, 'frequency' Adam over the spectrum "
            "of decorrelated colors with low frequencies moving most, 'growing' moves blocks of 8, 4, 2 pixels and "
            "then pixels, 'low_pass' blends the image with its blur after each step of 'pixels'.",
            "choices": MOVES.names(),
        },
    )
    move_options: list[str] | None = field(
        default=None,
        metadata={
            "help": "Options of the move as NAME=VALUE. growing: fine_from (0.5), the share of the run after which "
            "pixels move. low_pass: strength (0.1), the share of the blur in each blend, and width (0.7), its "
            "standard deviation in pixels."
        },
    )
    learning_rate: float = field(
        default=0.25,
        metadata={"help": "Learning rate of Adam over the pixels, in normalized units; of the same size in any move."},
    )
    lr_schedule: str = field(
        default="constant",
        metadata={
            "help": "How the learning rate changes over the run: 'constant', 'linear' and 'cosine' down towards 0, "
            "'one_cycle' up from a 25th of it over three tenths of the run and then down to nearly nothing.",
            "choices": list(LR_SCHEDULES),
        },
    )
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
    num_views: int = field(
        default=1,
        metadata={
            "help": "Random rolls and flips of an image that the teacher sees in each step, whose losses are "
            "averaged; a step takes that many times as long."
        },
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
        default=16, metadata={"help": "Images shown in preview.png; 0 for no preview."}
    )
    report: RunOnly[bool] = field(default=True, metadata=REPORT_OPTION)
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
        for name in ("classes", "report_to", "loss_weights", "move_options"):
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
        if self.num_steps == 0 and (self.prune_steps is not None or self.prune_ratios is not None):
            raise UsageError(
                "num_steps 0 keeps every patch, so prune_steps and prune_ratios must not be given with it; leave them "
                "out, or take steps"
            )
        if self.lr_schedule not in LR_SCHEDULES:
            raise unknown_name("learning rate schedule", self.lr_schedule, list(LR_SCHEDULES))
        self._check_trajectories()
        # Built now for their errors: a wrong value should not wait for the checkpoint to load.
        self.prune_schedule, self.term_weights, self.start_spec, self.move_values  # noqa: B018
        given = {item.partition("=")[0] for item in self.loss_weights or ()}
        check_borrowed(self, {name: weight for name, weight in self.term_weights.items() if name in given})

    def _check_numbers(self) -> None:
        bounds = {
            "num_images": (1, MAX_IMAGES),
            "num_steps": (0, MAX_STEPS),
            "batch_size": (1, math.inf),
            "logging_steps": (1, math.inf),
            "seed": (0, MAX_SEED),
            "num_preview_images": (0, math.inf),
            "num_views": (1, MAX_VIEWS),
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

    def _check_trajectories(self) -> None:
        count = self.images_per_trajectory
        if self.policy != "pri":
            self._require(count is None, "images_per_trajectory", "is for policy pri alone")
            return
        self._require(
            count is None or (type(count) is int and count >= 2),
            "images_per_trajectory",
            "must be an integer of at least 2 (one image of all patches is policy dense)",
        )
        for name in ("prune_steps", "prune_ratios"):
            self._require(
                getattr(self, name) is None,
                name,
                "must not be given with policy pri, whose images leave in equal shares",
            )
        if rest := self.num_images % self.num_stages:
            below, above = self.num_images - rest, self.num_images - rest + self.num_stages
            raise UsageError(
                f"num_images is {self.num_images}, but policy pri makes {self.num_stages} images a trajectory "
                f"(images_per_trajectory); use {f'{below} or ' if below else ''}{above}"
            )

    def _require(self, is_met: bool, name: str, rule: str) -> None:
        if not is_met:
            raise UsageError(f"{name} {rule}, but {getattr(self, name)!r} was given")

    @classmethod
    def from_preset(cls, name: str, **options: Any) -> Self:
        """The settings of a preset (`smi_hf.inversion.presets`), with others besides, which win.

        Raises:
            UsageError: there is no such preset, or the settings are refused.
        """
        return cls(**{**preset_options(name, policy=options.get("policy")), **options})

    @property
    def num_stages(self) -> int:
        """Images that one trajectory gives, each finished at another stage; 1 but with policy pri."""
        return (self.images_per_trajectory or DEFAULT_STAGES) if self.policy == "pri" else 1

    @property
    def prune_schedule(self) -> PruneSchedule:
        """The schedule as given, or the default for this number of steps."""
        if self.policy == "pri":
            return ShareSchedule.divide(self.num_steps, self.num_stages)
        if self.policy == "dense" or self.num_steps == 0:
            return PruneSchedule()
        return PruneSchedule.resolve(self.num_steps, self.prune_steps, self.prune_ratios)

    @property
    def start_spec(self) -> StartSpec:
        """What images begin as."""
        return StartSpec.parse(self.start)

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

    @property
    def move_values(self) -> dict[str, float]:
        """The value of each option of the move."""
        return read_options(self.move, self.move_options or ())

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, in [0, num_steps)."""
        return self.learning_rate * LR_SCHEDULES[self.lr_schedule](step, self.num_steps)

    def image_settings(self) -> dict[str, Any]:
        """The options that decide what the images are, with defaults resolved: equal settings, equal images.

        What loss terms borrow is not among them; `Helpers.settings` says what it is.
        """
        hints = get_type_hints(type(self), include_extras=True)
        run_only = {name for name, hint in hints.items() if _RUN_ONLY in getattr(hint, "__metadata__", ())}
        settings = {name: value for name, value in asdict(self).items() if name not in run_only}
        schedule = self.prune_schedule
        settings |= {"prune_steps": list(schedule.steps), "prune_ratios": list(schedule.ratios)}
        # Of the other policies left out, as in records of before there was one that has it.
        del settings["images_per_trajectory"]
        if self.num_stages > 1:
            settings["images_per_trajectory"] = self.num_stages
        # No path of this machine. Without steps nothing is chosen, whatever the policy.
        return settings | {"start": self.start_spec.key} | ({} if self.num_steps else {"policy": "dense"})
