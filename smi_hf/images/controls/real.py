"""Real images: the upper bound that synthetic ones are measured by."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from smi_hf.errors import UsageError
from smi_hf.images.controls.base import ControlInputs, register_control

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages
    from smi_hf.images.real import ImageSet
    from smi_hf.models import Teacher

logger = logging.getLogger(__name__)


@register_control("real", "real images; DATASET:SPLIT names a split", argument="DATASET")
def real(inputs: ControlInputs) -> "list[KeptImages]":
    from smi_hf.images.real import load_image_set

    images = load_image_set(inputs.argument, inputs.teacher.judged_labels)
    if images.is_synthetic:
        raise UsageError(
            f"dataset {inputs.argument} is a sparse dataset of synthetic images, but this control needs photographs; "
            f"dense= takes a dense inversion"
        )
    source = f"real images ({inputs.dataset})"
    others = _not_judged_on(images, inputs.judged_on)
    if len(others) >= inputs.num_images:
        images = others
    elif len(others) < len(images):
        source = f"real images ({inputs.dataset}), which judge as well"
        logger.warning(
            "%d of the %d images of control real=%s are among those that judge, so its row is too good; give others",
            len(images) - len(others),
            len(images),
            inputs.dataset,
        )
    made = (real_images(images, inputs.teacher, inputs.num_images, seed=seed) for seed in inputs.seeds)
    return [replace(each, source=source) for each in made]


def _not_judged_on(images: "ImageSet", judged_on: "ImageSet | None") -> "ImageSet":
    """The images that do not judge as well."""
    if judged_on is None:
        return images
    judges = set(judged_on.digests()) - {None}
    others = [number for number, digest in enumerate(images.digests()) if digest not in judges]
    return images if len(others) == len(images) else images.select(others)


def real_images(images: "ImageSet", teacher: "Teacher", num_images: int, *, seed: int = 0) -> "KeptImages":
    """Real images drawn at random, preprocessed for a teacher, every patch kept.

    Raises:
        UsageError: there are fewer than `num_images`.
    """
    import numpy as np
    import torch

    from smi_hf.images.kept import KeptImages
    from smi_hf.models.preprocessing import preprocess

    if num_images > len(images):
        raise UsageError(f"{num_images} real images are needed, but dataset {images.name} has {len(images)}")
    rows = np.random.default_rng(seed).choice(len(images), num_images, replace=False)
    drawn = images.select(rows)
    batches = [(preprocess(pictures, teacher.image_processor), labels) for pictures, labels in drawn.batches(32)]
    pixels, labels = (np.concatenate(column) for column in zip(*batches))
    every_BN = teacher.model.grid.all_patches(num_images)
    return KeptImages(torch.from_numpy(pixels), every_BN, "real images", torch.from_numpy(labels))
