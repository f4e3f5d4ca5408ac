"""A dense inversion of the same model, every patch."""

from dataclasses import replace
from typing import TYPE_CHECKING

from smi_hf.errors import UsageError
from smi_hf.images.controls.base import ControlInputs, register_control

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages


@register_control("dense", "a dense inversion of this model, every patch", argument="DATASET")
def dense(inputs: ControlInputs) -> "list[KeptImages]":
    return [dense_images(inputs)]


def dense_images(inputs: ControlInputs) -> "KeptImages":
    """As many images of the dataset that the control names as the first sparse set has.

    Raises:
        UsageError: it cannot be loaded, does not fit the model, does not keep every patch, or is too small.
    """
    from smi_hf.data import load_sparse_dataset
    from smi_hf.images.kept import sparse_images

    dataset = load_sparse_dataset(inputs.argument, teacher=inputs.teacher)
    num_kept, num_patches = dataset.record.keep_counts[-1], inputs.teacher.model.grid.num_patches
    if num_kept != num_patches:
        raise UsageError(
            f"dataset {inputs.argument} keeps {num_kept} of {num_patches} patches, but this control needs one that "
            f"keeps every patch; make it with smi-hf invert --policy dense"
        )
    if dataset.record.settings.get("num_steps") == 0:
        raise UsageError(
            f"dataset {inputs.argument} holds images of no steps, but this control needs a dense inversion; make it "
            f"with smi-hf invert --policy dense"
        )
    if len(dataset) < inputs.num_images:
        raise UsageError(
            f"dataset {inputs.argument} has {len(dataset)} images, but this control needs {inputs.num_images}, as "
            f"many as the sparse dataset has"
        )
    return replace(sparse_images(dataset, inputs.num_images), source=f"inverted, dense ({inputs.dataset})")
