"""What a loss term sees, what it can ask for, where it is registered, and how terms are added up.

Legend: `B` images, `K` kept patches, `T` tokens, `L` labels, `D` hidden size, `M` remembered images, `C` channels,
`P Q` patch pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smi_hf.registry import Registry

if TYPE_CHECKING:  # not at run time: --help lists the terms, and must not wait for torch
    from torch import Tensor

    from smi_hf.patches.grid import PatchGrid


@dataclass(frozen=True)
class ChannelStatistics:
    """What one batch normalization of the helper model sees of each image, and what it saw in its training.

    Args:
        mean_BC, variance_BC: of each image, over its pixels, float (B, C).
        trained_mean_C, trained_variance_C: the running statistics of the layer, float (C,).
    """

    mean_BC: "Tensor"
    variance_BC: "Tensor"
    trained_mean_C: "Tensor"
    trained_variance_C: "Tensor"


@dataclass(frozen=True)
class LossInputs:
    """One optimization step as the loss terms see it.

    What stands behind `image_indices` is None unless a term in use asks for it by that name (`NEEDS`): where none
    does, it is neither computed nor kept.

    Args:
        logits_BL: teacher's answer to the augmented images, float (B, L).
        targets_B: label that each image is to have, int64 (B,).
        patches_BKCPQ: kept patches before augmentation, in normalized units, float (B, K, C, P, Q).
        kept_BK: their places on the grid, int64 (B, K).
        grid: the patch grid.
        step: steps that were taken before this one.
        num_steps: of the whole run.
        seed: of the run; `image_generator(seed, image_index, use)` is a stream of an image's own.
        image_indices: which images of the run these are, B numbers.
        attentions: of each block of the teacher, float (B, heads, T, T); rows are queries and sum to 1. The last K
            tokens are the patches, in the order of `kept_BK`, in all that follows.
        head_outputs: of each block, what each head reads, before the heads are mixed, float (B, T, heads, D / heads).
        features_BD: the CLS token after the last block, float (B, D); the mean of the patches where none is read.
        batch_statistics: of each batch normalization of the helper model, which sees the augmented images with pruned
            patches in their mean color.
        student_logits_BL: a student's answer to the augmented images, float (B, L).
        memory_MD: `features_BD` of the images that are remembered, float (M, D).
    """

    logits_BL: "Tensor"
    targets_B: "Tensor"
    patches_BKCPQ: "Tensor"
    kept_BK: "Tensor"
    grid: "PatchGrid"
    step: int = 0
    num_steps: int = 0
    seed: int = 0
    image_indices: tuple[int, ...] = ()
    attentions: "tuple[Tensor, ...] | None" = None
    head_outputs: "tuple[Tensor, ...] | None" = None
    features_BD: "Tensor | None" = None
    batch_statistics: tuple[ChannelStatistics, ...] | None = None
    student_logits_BL: "Tensor | None" = None
    memory_MD: "Tensor | None" = None


# What a term may ask for beside the basics.
NEEDS = (
    "attentions",
    "head_outputs",
    "features_BD",
    "batch_statistics",
    "student_logits_BL",
    "memory_MD",
)

# One value an image, (B,): an image's loss must not depend on the others in its batch.
LossFunction = Callable[[LossInputs], "Tensor"]


@dataclass(frozen=True)
class LossTerm:
    """A registered term; called as its function is.

    Args:
        function: from what it sees to one value an image, (B,).
        needs: what it asks for, of `NEEDS`.
        source: the publication that it is from, for cards.
        reads_cls: whether it is about the CLS token, the first one, which not every teacher has.
    """

    function: LossFunction
    needs: tuple[str, ...] = ()
    source: str | None = None
    reads_cls: bool = False

    def __call__(self, inputs: LossInputs) -> "Tensor":
        return self.function(inputs)


LOSSES: Registry[LossTerm] = Registry("loss term", "smi_hf.losses")


def register_loss(
    name: str, *, needs: Sequence[str] = (), source: str | None = None, reads_cls: bool = False
) -> Callable[[LossFunction], LossFunction]:
    """Decorator that registers a function as a loss term, and leaves it a function.

    Args:
        name: as `--loss_weights` takes it; of a term of ours that of its file.
        needs: what it asks for beside the basics, of `NEEDS`.
        source: the publication that it is from, for cards.
        reads_cls: whether it is about the CLS token: then it is refused with teachers whose answer is read otherwise.
    """
    unknown = sorted(set(needs) - set(NEEDS))
    assert not unknown, f"loss term {name!r} needs {unknown}, but a term can ask for {', '.join(NEEDS)}"

    def add(function: LossFunction) -> LossFunction:
        LOSSES.register(name)(LossTerm(function, tuple(needs), source, reads_cls))
        return function

    return add


def needs_of(weights: Mapping[str, float]) -> frozenset[str]:
    """What the terms of non-zero weight ask for.

    Raises:
        UsageError: a name is not registered.
    """
    return frozenset(need for name, weight in weights.items() if weight != 0 for need in LOSSES.get(name).needs)


def describe_terms(weights: Mapping[str, float]) -> list[dict[str, Any]]:
    """Name, weight and source of each term of non-zero weight, for records.

    Raises:
        UsageError: a name is not registered.
    """
    return [
        {"name": name, "weight": weight, "source": LOSSES.get(name).source}
        for name, weight in weights.items()
        if weight != 0
    ]


def weighted_losses(inputs: LossInputs, weights: Mapping[str, float]) -> "dict[str, Tensor]":
    """Each term of non-zero weight times that weight, (B,), under its name.

    Raises:
        UsageError: a name is not registered.
    """
    terms = {name: LOSSES.get(name) for name in weights}
    return {name: weight * terms[name](inputs) for name, weight in weights.items() if weight != 0}


def full_precision(tensor: "Tensor") -> "Tensor":
    """In float32 if it is in half precision: autocast leaves what a model gives in bfloat16."""
    return tensor.float() if tensor.element_size() < 4 else tensor
