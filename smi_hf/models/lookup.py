"""Which family serves a model, or why it cannot be shown single patches."""

from transformers import PretrainedConfig, PreTrainedModel

from smi_hf.errors import UsageError
from smi_hf.models.families.base import FAMILIES, ViTFamily, family_name
from smi_hf.registry import suggest

_WINDOWS = "attends within windows of neighboring patches, which pruning would tear apart"
_SHRINKS = "shrinks its grid between stages"
_CONVOLVES = "convolves, so that a patch is nothing without its neighbors"
_MIXES = "mixes convolutions with attention over unfolded pixels"
# Why a model cannot be shown single patches. All of them can be shown whole images.
DENSE_REASONS: dict[str, str] = {
    "swin": _WINDOWS,
    "swinv2": _WINDOWS,
    "donut-swin": _WINDOWS,
    "hiera": _WINDOWS,
    "dinat": _WINDOWS,
    "nat": _WINDOWS,
    "mobilevit": _MIXES,
    "mobilevitv2": _MIXES,
    "levit": _SHRINKS,
    "pvt": _SHRINKS,
    "pvt_v2": _SHRINKS,
    "segformer": _SHRINKS,
    "cvt": "embeds patches that overlap",
    "bit": _CONVOLVES,
    "convnext": _CONVOLVES,
    "convnextv2": _CONVOLVES,
    "efficientnet": _CONVOLVES,
    "mobilenet_v1": _CONVOLVES,
    "mobilenet_v2": _CONVOLVES,
    "regnet": _CONVOLVES,
    "resnet": _CONVOLVES,
}


def family_of(config: PretrainedConfig) -> ViTFamily | None:
    """The family of a configuration, None if none is registered for it."""
    name = family_name(config.model_type)
    return FAMILIES.get(name) if name in FAMILIES else None


def find_family(model: PreTrainedModel) -> ViTFamily:
    """The family of a model that can be shown single patches.

    Raises:
        UsageError: it cannot; says why where that is known, and lists the families that are served.
    """
    if (reason := why_dense(model)) is not None:
        raise UsageError(
            f"model type {model.config.model_type!r} cannot be shown single patches: {reason}. Families that can: "
            f"{', '.join(FAMILIES.names())}"
        )
    family = family_of(model.config)
    assert family is not None
    return family


def why_dense(model: PreTrainedModel) -> str | None:
    """Why a model can be shown whole images alone, as the end of a sentence; None if not, but single patches, too."""
    family, model_type = family_of(model.config), model.config.model_type
    if family is not None:
        return family.why_not(model)
    if model_type in DENSE_REASONS:
        return f"it {DENSE_REASONS[model_type]}"
    return f"no family is registered for it{suggest(model_type, FAMILIES.names())}"
