"""Models that cannot be shown single patches (Swin, ConvNeXt, ResNet, MobileViT, ...): shown whole images.

Legend: `B` images, `K` kept patches, `C` channels, `H W` image pixels, `P Q` patch pixels.
"""

import math
from typing import Self

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.models.families.base import FAMILIES
from smi_hf.models.lookup import why_dense
from smi_hf.models.vision import VisionClassifier
from smi_hf.patches.grid import PatchGrid, both_sides

# Side of a cell, in pixels: as that of most Vision Transformers where it tiles the image.
_USUAL_SIDE = 16
_LARGEST_SIDE = 32
_SMALLEST_SIDE = 4


class DenseClassifier(VisionClassifier):
    """A classifier of any kind, with a grid laid over its images: patches are hidden from it, and cost as much.

    A pruned patch is 0, normalized, which is the mean color for most image processors, and no gradient reaches it.

    Args:
        model: a classifier that takes normalized images of any kind.
        image_size: side, or (height, width), in pixels.
    """

    is_sparse = False

    def __init__(self, model: PreTrainedModel, image_size: int | tuple[int, int]) -> None:
        size = both_sides(image_size)
        super().__init__(model, PatchGrid.from_sizes(size, cell_side(size)))

    def around(self, model: PreTrainedModel) -> Self:
        return type(self)(model, self.grid.image_size)

    @property
    def num_channels(self) -> int:
        return getattr(self.config, "num_channels", 3)

    @property
    def why_dense(self) -> str:
        """Why single patches cannot be shown to it, as the end of a sentence."""
        return why_dense(self.model) or "it was loaded to be shown whole images"

    def _patches_output(self, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: object) -> ImageClassifierOutput:
        images_BCHW = self.grid.paste(patches_BKCPQ, kept_BK, fill=0)
        return self._forward_model(pixel_values=images_BCHW.to(next(self.parameters()).dtype), **kwargs)

    def _stock_output(self, pixels_BCHW: Tensor) -> ImageClassifierOutput:
        return self.model(pixel_values=pixels_BCHW)

    def verify(self) -> None:
        """Checks that the model takes images of the grid's size.

        Raises:
            UsageError: it does not.
        """
        try:
            super().verify()
        except (ValueError, RuntimeError, AssertionError) as error:
            if isinstance(error, UsageError):
                raise
            height, width = self.grid.image_size
            raise UsageError(
                f"the {self.config.model_type!r} model does not take images of {height}x{width} px, which its image "
                f"processor makes: {one_line(error, max_length=200)}; mend preprocessor_config.json"
            ) from error


def cell_side(image_size: tuple[int, int]) -> int:
    """Side in pixels of the cells of a grid over images of (height, width): 16 where that tiles them."""
    common = math.gcd(*image_size)
    sides = [side for side in range(_SMALLEST_SIDE, _LARGEST_SIDE + 1) if common % side == 0]
    return min(sides, key=lambda side: (abs(side - _USUAL_SIDE), side)) if sides else common


def require_sparse(model: VisionClassifier, what: str) -> None:
    """Checks that single patches can be shown to a model, for what needs that.

    Args:
        what: it is, as the beginning of a sentence.

    Raises:
        UsageError: they cannot.
    """
    if isinstance(model, DenseClassifier):
        raise UsageError(
            f"{what} needs a model that can be shown single patches, and a {model.config.model_type!r} model cannot: "
            f"{model.why_dense}. Families that can: {', '.join(FAMILIES.names())}"
        )
