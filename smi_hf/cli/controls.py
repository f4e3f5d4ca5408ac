"""Rows that a table compares synthetic images with: what stands in for them, by the names of `--controls`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smi_hf.errors import UsageError
from smi_hf.registry import suggest

if TYPE_CHECKING:
    from smi_hf.data.patch_sets import PatchSet
    from smi_hf.models import Teacher

# Control -> what a model is shown instead.
CONTROLS = {
    "gaussian": "Gaussian noise",
    "real=DATASET": "real images; DATASET:SPLIT names a split",
    "dense=DATASET": "a dense inversion of this model, every patch",
    "random=DATASET": "random patches of a dense inversion, as many as the sparse dataset keeps",
    "filled": "the sparse dataset's images, every patch, pruned ones black",
}


def control_help(extra: dict[str, str] | None = None) -> str:
    """One line a control, for the end of --help."""
    return "\n".join(f"  {name:<15} {purpose}" for name, purpose in (CONTROLS | (extra or {})).items())


def check_controls(controls: Sequence[str], extra: Sequence[str] = ()) -> None:
    """Checks how controls are written.

    Raises:
        UsageError: one does not exist, or lacks its dataset.
    """
    known = [*CONTROLS, *extra]
    names = [control.partition("=")[0] for control in known]
    for control in controls:
        name, _, argument = control.partition("=")
        if name not in names:
            raise UsageError(f"there is no control {name!r}{suggest(name, names)}; available: {', '.join(known)}")
        written = known[names.index(name)]
        if ("=" in written) != bool(argument):
            raise UsageError(f"control {control!r} must be written {written}")


def make_control(
    control: str, sparse: "Sequence[PatchSet]", teacher: "Teacher", image_processor: Any, seeds: Sequence[int]
) -> "list[PatchSet]":
    """What a control shows, as many images as the first sparse set has: one set a seed, or a dataset.

    Raises:
        UsageError: its dataset cannot be loaded, does not fit the model, or is too small.
    """
    from smi_hf.data import load
    from smi_hf.data.image_sets import load_image_set
    from smi_hf.data.patch_sets import all_patches, gaussian_noise, random_patches, real_images, sparse_images

    model, count = teacher.model, len(sparse[0])
    name, _, argument = control.partition("=")
    if name == "gaussian":
        return [gaussian_noise(model, count, seed=seed) for seed in seeds]
    if name == "real":
        real = load_image_set(argument, teacher.label_names)
        return [real_images(real, model, image_processor, count, seed=seed) for seed in seeds]
    if name == "filled":
        return [all_patches(images, model) for images in sparse]
    dense = sparse_images(load(argument, for_model=model), count)
    if name == "dense":
        return [dense]
    num_kept = sparse[0].kept_BK.shape[1]
    return [random_patches(dense, model, num_kept, seed=seed) for seed in seeds]
