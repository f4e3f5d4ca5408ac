"""Random patches of a dense inversion: whether it matters which patches are kept."""

from dataclasses import replace
from typing import TYPE_CHECKING

from smi_hf.images.controls.base import ControlInputs, register_control

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages
    from smi_hf.models import VisionClassifier


@register_control(
    "random", "random patches of a dense inversion, as many as the sparse dataset keeps", argument="DATASET"
)
def random(inputs: ControlInputs) -> "list[KeptImages]":
    from smi_hf.images.controls.dense import dense_images

    images, num_kept = dense_images(inputs), inputs.sparse[0].kept_BK.shape[1]
    source = f"inverted, random patches ({inputs.dataset})"
    made = (random_patches(images, inputs.teacher.model, num_kept, seed=seed) for seed in inputs.seeds)
    return [replace(each, source=source) for each in made]


def random_patches(images: "KeptImages", model: "VisionClassifier", num_kept: int, *, seed: int = 0) -> "KeptImages":
    """The same images with as many patches chosen at random; for densely inverted images."""
    import torch

    from smi_hf.images.kept import KeptImages

    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(images), model.grid.num_patches, generator=generator)
    kept_BK = scores.topk(num_kept, dim=1).indices.sort(dim=1).values
    return KeptImages(images.pixels_BCHW, kept_BK, "inverted, random patches", images.labels_B)
