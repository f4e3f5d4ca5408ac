"""Pictures of a dataset: photographs, drawings, or images of an earlier run."""

from typing import TYPE_CHECKING

from smi_hf.starts.base import StartInputs, register_start

if TYPE_CHECKING:
    from torch import Tensor


@register_start(
    "dataset",
    "pictures of a dataset",
    "pictures of a dataset in its order, labels not needed; DATASET:SPLIT names a split",
    argument="DATASET",
)
def dataset(inputs: StartInputs) -> "Tensor":
    """Picture `index` of the dataset as the model's image processor makes it; from the first again after the last."""
    assert inputs.pictures is not None, "a start with an argument is opened with its pictures"
    pixels_CHW = inputs.pictures[inputs.index % len(inputs.pictures)]
    return pixels_CHW.clamp(*inputs.normalization.bounds(pixels_CHW))
