"""How a student sees sparse images: the kept patches alone where it can, else the image with its gaps filled.

Legend: `B` images, `K` kept patches, `T` tokens, `S` summary tokens, `D` hidden size, `C` channels,
`H W` image pixels, `P Q` patch pixels, `L` labels.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput

from smi_hf.errors import UsageError
from smi_hf.evaluation.cost import size_figures
from smi_hf.models import EmbeddingHead, SparseClassifier, Teacher
from smi_hf.models.classification import is_headless
from smi_hf.models.for_a_while import evaluating, method_replaced
from smi_hf.models.lookup import find_family, why_dense
from smi_hf.patches import Normalization, PatchGrid
from smi_hf.patches.grid import both_sides

logger = logging.getLogger(__name__)


class Student(Protocol):
    """A model in training, as its trainer sees it.

    `through` is always the model as `Trainer` wrapped it (for several processes, mixed precision or compilation), so
    that whatever that wrapper does happens.

    Args:
        model: the Hugging Face model itself.
        sees: what it is shown, in words.
    """

    model: PreTrainedModel
    sees: str

    def forward(
        self, through: nn.Module, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: Any
    ) -> ImageClassifierOutput:
        """Its answer to patches, normalized for the teacher, at places of the teacher's grid."""

    def answer_images(self, through: nn.Module, pixels_BCHW: Tensor) -> ImageClassifierOutput:
        """Its answer to whole images, as its own image processor makes them."""

    def size_figures(self) -> dict[str, float]:
        """Its size, by the keys of a result table's columns."""


class SparseStudent:
    """A student of the teacher's grid and of a family that `SparseClassifier` serves: sees the kept patches alone.

    Args:
        layers: as of `make_student`.
        head: its teacher's, of an image tower or a backbone.
    """

    sees = "kept patches"

    def __init__(
        self,
        model: PreTrainedModel,
        grid: PatchGrid,
        rescale: Callable[[Tensor], Tensor],
        layers: Sequence[int] | None = None,
        head: EmbeddingHead | None = None,
    ) -> None:
        self.model = model
        self.layers = layers
        self.sparse = SparseClassifier(model, grid.image_size, head)
        self._rescale = rescale

    def forward(
        self, through: nn.Module, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: Any
    ) -> ImageClassifierOutput:
        tokens_BTD = self.sparse.embed(self._rescale(patches_BKCPQ), kept_BK)
        return self.sparse.answered(self.sparse.forward_tokens(tokens_BTD, kept_BK, through=through, **kwargs))

    def answer_images(self, through: nn.Module, pixels_BCHW: Tensor) -> ImageClassifierOutput:
        return self.sparse.answered(through(pixel_values=pixels_BCHW))

    def size_figures(self) -> dict[str, float]:
        return size_figures(self.sparse)

    def summarize(self, patches_BKCPQ: Tensor, kept_BK: Tensor) -> Tensor:
        """What a head can read of the last layer: each prefix token and the mean of the patches, (B, S, D)."""
        return self._summary_of(lambda: self.sparse.forward_patches(self._rescale(patches_BKCPQ), kept_BK))

    def summarize_images(self, pixels_BCHW: Tensor) -> Tensor:
        """As `summarize`, of whole images as the student's own image processor makes them."""
        return self._summary_of(lambda: self.model(pixel_values=pixels_BCHW))

    @torch.no_grad()
    def _summary_of(self, forward: Callable[[], Any]) -> Tensor:
        with self._last_layer() as seen:
            forward()
        (hidden_BTD,) = seen
        num_prefix = self.sparse.num_prefix_tokens
        return torch.cat([hidden_BTD[:, :num_prefix], hidden_BTD[:, num_prefix:].mean(dim=1, keepdim=True)], dim=1)

    def forward_summary(self, through: nn.Module, summary_BSD: Tensor) -> ImageClassifierOutput:
        """The head's answer to what `summarize` gave: the logits of the whole model, its backbone not run.

        Heads read prefix tokens, or the mean of the patches, which is that of one patch that is their mean.
        """
        with _backbone_bypassed(self.sparse.backbone):
            return through(pixel_values=summary_BSD)

    @contextmanager
    def _last_layer(self) -> Iterator[list[Tensor]]:
        seen: list[Tensor] = []
        handle = self.sparse.backbone.register_forward_hook(
            lambda module, arguments, output: seen.append(output.last_hidden_state)
        )
        try:
            yield seen
        finally:
            handle.remove()


class DenseStudent:
    """Any image classifier: sees the whole image, the pruned patches in the middle of its range (0, normalized)."""

    sees = "filled images"

    def __init__(
        self, model: PreTrainedModel, grid: PatchGrid, rescale: Callable[[Tensor], Tensor], image_size: tuple[int, int]
    ) -> None:
        self.model = model
        self._grid = grid
        self._rescale = rescale
        self._image_size = image_size

    def forward(
        self, through: nn.Module, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: Any
    ) -> ImageClassifierOutput:
        images_BCHW = self._grid.paste(self._rescale(patches_BKCPQ), kept_BK, fill=0)
        if self._image_size != self._grid.image_size:
            images_BCHW = F.interpolate(images_BCHW, self._image_size, mode="bicubic", antialias=True)
        return through(pixel_values=images_BCHW, **kwargs)

    def answer_images(self, through: nn.Module, pixels_BCHW: Tensor) -> ImageClassifierOutput:
        return through(pixel_values=pixels_BCHW)

    def size_figures(self) -> dict[str, float]:
        return {"parameters": self.model.num_parameters() / 1e6}


def make_student(
    model: PreTrainedModel,
    teacher: Teacher,
    normalization: Normalization | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    layers: Sequence[int] | None = None,
) -> Student:
    """A classifier as a student of a teacher.

    Args:
        normalization: the student's; the teacher's if None.
        image_size: (height, width) in pixels that the student's image processor makes, None if that is not known.
        layers: numbers from 0 of the teacher's layers that its own began as, None if that is not known.
    """
    grid = teacher.model.grid
    rescale = partial(teacher.normalization.converted, wanted=normalization or teacher.normalization)
    config = model.config
    head = teacher.head if is_headless(model) else None
    if sees_patches(model, grid):
        return SparseStudent(model, grid, rescale, layers, head)
    is_served = why_dense(model) is None
    reason = "has another patch grid than its teacher" if is_served else "cannot be shown some patches alone"
    if head is not None:
        raise UsageError(
            f"the student ({config.model_type}) has no classification head and {reason}; give one with the teacher's "
            f"patches, or an image classifier"
        )
    logger.info("the student (%s) %s: it is shown images whose pruned patches are filled", config.model_type, reason)
    # It learns in the size in which it will be used.
    return DenseStudent(model, grid, rescale, image_size or _native_size(model, grid))


def sees_patches(model: PreTrainedModel, grid: PatchGrid) -> bool:
    """Whether a model can be shown some patches of a grid alone."""
    if why_dense(model) is not None:
        return False
    native = find_family(model).native_grid(model)
    return _native_size(model, grid) == grid.image_size and native.patch_size == grid.patch_size


def _native_size(model: PreTrainedModel, grid: PatchGrid) -> tuple[int, ...]:
    """(height, width) in pixels that a model is made for, that of a grid if it does not say."""
    if why_dense(model) is None:
        family = find_family(model)
        # What such a configuration names is what it was trained on last (DINOv2: 518), not what it is used with.
        return grid.image_size if family.interpolates_by_itself else family.native_grid(model).image_size
    return both_sides(getattr(model.config, "image_size", None) or grid.image_size)


def has_unused_weights(student: Student, grid: PatchGrid) -> bool:
    """Whether its answer leaves out a weight that is to learn, such as the mask token of a DINOv2."""
    model = student.model
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    black = torch.zeros(1, grid.num_patches, 3, *grid.patch_size, device=model.device)
    with evaluating(model), torch.enable_grad():
        logits_BL = student.forward(model, black, grid.all_patches(1, device=model.device)).logits
    gradients = torch.autograd.grad(logits_BL.sum(), learning, allow_unused=True)
    return any(gradient is None for gradient in gradients)


@contextmanager
def _backbone_bypassed(backbone: nn.Module) -> Iterator[None]:
    """While it lasts, the backbone returns as its last layer what it is given."""
    with method_replaced(backbone, "forward", _return_last_layer):
        yield


def _return_last_layer(pixel_values: Tensor, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
    return BaseModelOutputWithPooling(last_hidden_state=pixel_values)
