"""What every engine asks of a model: logits of some patches of an image, whatever is inside.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `C` channels, `H W` image pixels, `P Q` patch pixels,
`L` labels, `D` size of an embedding.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from smi_hf.errors import UsageError
from smi_hf.models.classification import answer_by_name, label_names_of
from smi_hf.models.embeddings import EmbeddingHead
from smi_hf.patches.grid import PatchGrid


@dataclass
class EmbeddingClassifierOutput(ImageClassifierOutput):
    """The answer of an image tower or backbone: logits, and the embeddings (B, D) that they are made of."""

    embeddings: torch.FloatTensor | None = None


class VisionClassifier(nn.Module, ABC):
    """A Hugging Face model that can be asked about patches of images. Nothing of the model is replaced.

    Args:
        model: an image classifier; with `head`, an image tower or a backbone.
        grid: which images it takes, and their patches.
        head: makes logits of embeddings; None of a classifier, which gives logits itself.

    Attributes:
        is_sparse: whether what is not kept is not computed; else it is hidden.
    """

    is_sparse: ClassVar[bool]

    def __init__(self, model: PreTrainedModel, grid: PatchGrid, head: EmbeddingHead | None = None) -> None:
        super().__init__()
        answer_by_name(model)
        self.model = model
        self.grid = grid
        self.head = head
        self._forward_model = model

    @abstractmethod
    def around(self, model: PreTrainedModel) -> Self:
        """The same around another model: a copy, or a smaller one of the same kind."""

    @property
    def takes_any_tokens(self) -> bool:
        """Whether the model is embeddings, and a part behind them that takes tokens of any patches by themselves."""
        return False

    @property
    def reads_from(self) -> str | None:
        """Which tokens the answer is read from, after which patches are ranked: "cls", "patches" or "query"; None of
        a model that has no attention to rank them by."""
        return None

    def patches_answer(self, patches_BKCPQ: Tensor, kept_BK: Tensor) -> Tensor:
        """What is used of the stock output for patches: logits, or what embeddings are read off."""
        return getattr(self._patches_output(patches_BKCPQ, kept_BK), self.answer_name)

    def forward_patches(self, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: object) -> ImageClassifierOutput:
        """As `forward`, from patches that are already cut out: normalized, float (B, K, C, P, Q)."""
        return self.answered(self._patches_output(patches_BKCPQ, kept_BK, **kwargs))

    @abstractmethod
    def _patches_output(self, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: object) -> Any:
        """The output of the model for patches."""

    @property
    def config(self) -> PretrainedConfig:
        return self.model.config

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """C."""

    @property
    def label_names(self) -> list[str]:
        """Name of each label, by label."""
        return label_names_of(self.config) if self.head is None else list(self.head.names)

    @property
    def num_labels(self) -> int:
        """L."""
        return self.config.num_labels if self.head is None else len(self.head.names)

    @property
    def answer_name(self) -> str:
        """What is used of the stock output, and what exported models give: "logits", or that of the embeddings."""
        return "logits" if self.head is None else self.head.reading.output

    def dense_answer(self, pixels_BCHW: Tensor) -> Tensor:
        """What is used of the stock output for whole images: logits, or what embeddings are read off."""
        return getattr(self._stock_output(pixels_BCHW), self.answer_name)

    def dense_output(self, pixels_BCHW: Tensor) -> ImageClassifierOutput:
        """What the stock model says of whole images."""
        return self.answered(self._stock_output(pixels_BCHW))

    @abstractmethod
    def _stock_output(self, pixels_BCHW: Tensor) -> Any:
        """The output of the stock model for whole images."""

    def answered(self, output: Any) -> ImageClassifierOutput:
        """A stock output as logits."""
        if self.head is None:
            return output
        embeddings_BD = self.head.reading(getattr(output, self.head.reading.output))
        return EmbeddingClassifierOutput(
            logits=self.head(embeddings_BD),
            hidden_states=getattr(output, "hidden_states", None),
            attentions=getattr(output, "attentions", None),
            embeddings=embeddings_BD,
        )

    def freeze(self) -> Self:
        """Evaluation mode, and no gradient to any weight. Returns itself."""
        self.eval().requires_grad_(False)
        return self

    def compile(self, **options: object) -> None:
        """Compiles the model, once for each shape that it is given."""
        self._forward_model = torch.compile(self.model, dynamic=False, **options)

    def forward(
        self, pixel_values: Tensor, kept_patches: Tensor | None = None, **kwargs: object
    ) -> ImageClassifierOutput:
        """The answer to the kept patches of images.

        Args:
            pixel_values: normalized images, float (B, C, H, W).
            kept_patches: places of the patches to look at, int64 (B, K); all of them if None.
            **kwargs: handed on to the stock forward (`output_attentions`, `output_hidden_states`).

        Returns:
            The stock output of a classifier, an `EmbeddingClassifierOutput` of any other; `logits` is (B, L).
        """
        if kept_patches is None:
            kept_patches = self.grid.all_patches(len(pixel_values), device=pixel_values.device)
        return self.forward_patches(self.grid.cut(pixel_values, kept_patches), kept_patches, **kwargs)

    @torch.no_grad()
    def verify(self) -> None:
        """Checks on a random image that all patches kept gives the stock model's answer.

        Raises:
            UsageError: it does not, so this checkpoint departs from its family.
        """
        weight = next(self.parameters())
        generator = torch.Generator().manual_seed(0)
        pixels_1CHW = torch.randn(1, self.num_channels, *self.grid.image_size, generator=generator).to(weight)
        dense, sparse = self.dense_output(pixels_1CHW), self(pixels_1CHW)
        # Of embeddings all directions are compared, and not only those towards a label.
        found = [getattr(each, "embeddings", None) for each in (dense, sparse)]
        dense_1L, sparse_1L = (dense.logits, sparse.logits) if self.head is None else found
        what = "logits" if self.head is None else "embeddings"
        if not dense_1L.isfinite().all():
            raise UsageError(
                f"the {what} of this {self.config.model_type!r} checkpoint are not finite on a random image: its "
                f"weights hold NaN or infinity, or are too large for {weight.dtype}; fetch it again, or load it in "
                f"float32"
            )
        # Rounding alone separates the two; a wrong position or prefix token shows in the first digits.
        tolerance = max(1e-3, 16 * torch.finfo(weight.dtype).eps)
        if not torch.allclose(
            dense_1L, sparse_1L, rtol=tolerance, atol=tolerance * max(1.0, float(dense_1L.abs().max()))
        ):
            raise UsageError(
                f"the sparse forward of this {self.config.model_type!r} checkpoint differs from the stock model by "
                f"{float((dense_1L - sparse_1L).abs().max()):.2g} with every patch kept; its code is not that of its "
                f"family, so it cannot be inverted"
            )
