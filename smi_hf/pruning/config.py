"""What a pruning can be told. Every option is described once, in its help."""

from dataclasses import dataclass, field
from typing import Any

from smi_hf.data.report_file import REPORT_OPTION
from smi_hf.errors import UsageError
from smi_hf.files import check_folder_name
from smi_hf.images.controls.base import check_control_seeds

# Share of the hidden units that stays where nothing is said.
KEEP = 0.5
# What is added to the diagonal of the inputs' covariance, as a share of its mean. DeiT-Tiny, half of every MLP cut, 64
# images, 400 photographs: with 0.1, 0.01, 0.001, 0.0001 top-1 is 45.5, 54.8, 56.8, 56.0 % on whole photographs, 30.3,
# 41.0, 45.3, 44.3 on 46 random patches of them, and on Gaussian noise 16.0, 18.3, 18.3 from 0.01 on.
RIDGE = 1e-3


@dataclass
class PruningConfig:
    """Settings of `prune`; `HfArgumentParser` makes command line options of them.

    Raises:
        UsageError: a value is out of range, or nothing would be pruned.
    """

    keep_mlp: float | None = field(
        default=None,
        metadata={
            "help": "Share of the hidden units of every MLP that stays, above 0 and at most 1. The second layer of "
            f"each is refitted to what stays. Default: {KEEP}, or what a budget (max_parameters, max_gmacs, max_ms) "
            "leaves room for."
        },
    )
    max_parameters: float | None = field(
        default=None,
        metadata={
            "help": "Budget in place of keep_mlp: millions of parameters that the pruned model may have. As many "
            "hidden units stay as fit; of several budgets all hold. Layers go first, if any are to."
        },
    )
    max_gmacs: float | None = field(
        default=None,
        metadata={"help": "Budget: multiply-accumulates for one whole image, in 10^9, counted as in the table."},
    )
    max_ms: float | None = field(
        default=None,
        metadata={
            "help": "Budget: milliseconds for one image, measured here and now in PyTorch. Measurements scatter, so "
            "later ones can be above it."
        },
    )
    num_layers: int | None = field(
        default=None,
        metadata={
            "help": "Layers that stay. One after another goes, that which changes the answers to the images least. "
            "Default: all. Without training a model survives few that go."
        },
    )
    layers: list[int] = field(
        default_factory=list,
        metadata={"help": "Numbers, from 0, of the layers that stay, in place of a choice by --num_layers."},
    )
    ridge: float = field(
        default=RIDGE,
        metadata={"help": "Strength of the ridge regression, as a share of the mean variance of the kept units."},
    )
    num_epochs: int = field(
        default=5,
        metadata={
            "help": "Passes over all tokens that fit each MLP by gradient; 0 for closed form alone, in seconds. Both "
            "of its layers learn what closed form leaves, block by block."
        },
    )
    num_scenes: int = field(
        default=200,
        metadata={
            "help": "Procedural pictures (start scenes) that MLPs are fitted to as well. Every patch of them, beside "
            "the images of the dataset and beside those of each control."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of the procedural pictures, and of the order of tokens."})
    output_dir: str = field(
        default="smi-pruned",
        metadata={"help": "Folder for the pruned model. It must not exist; it appears when all is done."},
    )
    num_images: int | None = field(default=None, metadata={"help": "Images to prune on. Default: all."})
    other_teacher: bool = field(
        default=False, metadata={"help": "Accept images that were inverted from another model than this one."}
    )
    control_seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Seeds of noise, of the choice of real images and of random patches: one run each."},
    )
    batch_size: int = field(default=32, metadata={"help": "Images that are judged at a time."})
    report: bool = field(default=True, metadata=REPORT_OPTION)
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})

    def __post_init__(self) -> None:
        check_folder_name(self.output_dir)
        for option, limit in self.budget().items():
            if not 0 < limit < float("inf"):
                raise UsageError(f"{option} must be above 0, and finite, but {limit} was given")
            if self.keep_mlp is not None:
                raise UsageError(f"keep_mlp says how many hidden units stay, but {option} chooses it; leave out one")
        if self.keep_mlp is not None and not 0 < self.keep_mlp <= 1:
            raise UsageError(f"keep_mlp must be above 0 and at most 1, but {self.keep_mlp} was given")
        if not 0 <= self.ridge < float("inf"):
            raise UsageError(f"ridge must be 0 or more, and finite, but {self.ridge} was given")
        if self.num_layers is not None and self.layers:
            raise UsageError("num_layers chooses the layers that stay, but layers names them, too; leave out one")
        for option in ("num_layers", "num_images", "batch_size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, but {value} was given")
        if self.keep_mlp == 1 and self.num_layers is None and not self.layers:
            raise UsageError("keep_mlp is 1 and all layers stay, so nothing would be pruned; give less of either")
        for option in ("num_epochs", "num_scenes", "seed"):
            if not 0 <= getattr(self, option) < 2**31:
                raise UsageError(f"{option} must be from 0 to 2**31 - 1, but {getattr(self, option)} was given")
        check_control_seeds(self.control_seeds)

    def budget(self) -> dict[str, float]:
        """What the model may cost, by option; empty if nothing was said."""
        limits = {option: getattr(self, option) for option in ("max_parameters", "max_gmacs", "max_ms")}
        return {option: limit for option, limit in limits.items() if limit is not None}

    def model_settings(self) -> dict[str, Any]:
        """The options that decide what the model is."""
        names = ("keep_mlp", "ridge", "num_epochs", "num_scenes", "seed")
        return {"compensation": "ridge regression"} | {name: getattr(self, name) for name in names}
