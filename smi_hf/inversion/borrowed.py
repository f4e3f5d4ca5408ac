"""Whether a run was given what its loss terms borrow, and nothing that none of them asks for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from smi_hf.errors import UsageError
from smi_hf.losses.base import LOSSES, needs_of

if TYPE_CHECKING:  # which imports this file
    from smi_hf.inversion.config import SparseInversionConfig

MEMORY_IMAGES = 256

# Options that name what terms borrow, and what the terms ask for by `smi_hf.losses.base.NEEDS`.
_OPTIONS = {
    "batch_norm_model": "batch_statistics",
    "student_model": "student_logits_BL",
    "memory_dataset": "memory_MD",
}
# What only the inside of the teacher tells.
_INSIDE = {"attentions", "head_outputs", "features_BD"}


def check_borrowed(config: "SparseInversionConfig", weights: Mapping[str, float]) -> None:
    """Checks the options for what terms borrow.

    Args:
        weights: of the terms that may need something. The others are better left out: to ask a term what it needs
            takes torch.

    Raises:
        UsageError: an option is missing, given for nothing, empty, or does not go with another.
    """
    needs = needs_of(weights)
    used = [name for name, weight in weights.items() if weight]
    for option, need in _OPTIONS.items():
        value = getattr(config, option)
        if value is not None and not value.strip():
            raise UsageError(f"{option} must name a Hub id or a folder, but {value!r} was given")
        if need in needs and value is None:
            name = next(name for name in used if need in LOSSES.get(name).needs)
            raise UsageError(f"the loss term {name} needs {option}, but it was not given; give a Hub id or a folder")
        if value is not None and need not in needs:
            asker = next(name for name in LOSSES.own_names() if need in LOSSES.get(name).needs)
            raise UsageError(
                f"{option} was given, but no loss term uses it; give one a weight, for instance --loss_weights "
                f"{asker}=1"
            )
    if config.memory_images != MEMORY_IMAGES and config.memory_dataset is None:
        raise UsageError("memory_images was given, but memory_dataset was not; give both, or neither")
    if config.helper_allow_pickle and config.batch_norm_model is None and config.student_model is None:
        raise UsageError(
            "helper_allow_pickle was given, but neither batch_norm_model nor student_model was; give one of them, or "
            "leave it out"
        )
    inside = [name for name in used if _INSIDE.intersection(LOSSES.get(name).needs)]
    if config.compile and inside:
        raise UsageError(
            f"compile was given, but {' and '.join(inside)} look into the teacher, which a compiled one does not "
            f"show; leave out one of them"
        )
