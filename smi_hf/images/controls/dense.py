"""A dense inversion of the same model, every patch."""

from typing import TYPE_CHECKING

from smi_hf.images.controls.base import ControlInputs, register_control

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages


@register_control("dense", "a dense inversion of this model, every patch", argument="DATASET")
def dense(inputs: ControlInputs) -> "list[KeptImages]":
    return [dense_images(inputs)]


def dense_images(inputs: ControlInputs) -> "KeptImages":
    """As many images of the dataset that the control names as the first sparse set has.

    Raises:
        UsageError: it cannot be loaded, does not fit the model, or is too small.
    """
    from smi_hf.data import load_sparse_dataset
    from smi_hf.images.kept import sparse_images

    return sparse_images(load_sparse_dataset(inputs.argument, teacher=inputs.teacher), inputs.num_images)
