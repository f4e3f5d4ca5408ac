"""Sparse forward over Hugging Face models: any subset of patches, at a cost that grows with the subset.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `R` prefix tokens, `T = R + K` tokens, `D` hidden size,
`A` heads, `C` channels, `H W` image pixels, `P Q` patch pixels, `L` labels.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from smi_hf.errors import UsageError
from smi_hf.models.embeddings import EmbeddingHead
from smi_hf.models.families.base import Positions, Shape
from smi_hf.models.for_a_while import evaluating, method_replaced
from smi_hf.models.lookup import find_family
from smi_hf.models.vision import VisionClassifier
from smi_hf.patches.grid import PatchGrid, take_slots


class SparseClassifier(VisionClassifier):
    """A Hugging Face image classifier that can be shown any subset of an image's patches.

    Patches are embedded where they are kept and nowhere else; the stock forward then runs on the shorter sequence.
    Weights, hooks and state dict of the model stay as they are, and it can be used beside this. Gradients flow to the
    pixels and to whatever of the model requires them.

    Args:
        model: a classifier of a registered family (`smi_hf.models.families`), or with `head` any other model of one.
        image_size: side, or (height, width), in pixels; the model's own if None. Another size interpolates the
            position embeddings as the stock model does.
        head: as of `VisionClassifier`.

    Raises:
        UsageError: the family cannot be served, or the patches do not tile that size.
    """

    is_sparse = True

    def __init__(
        self,
        model: PreTrainedModel,
        image_size: int | tuple[int, int] | None = None,
        head: EmbeddingHead | None = None,
    ) -> None:
        family = find_family(model)
        native = family.native_grid(model)
        grid = native if image_size is None else PatchGrid.from_sizes(image_size, native.patch_size)
        super().__init__(model, grid, head)
        self.family = family
        self._frozen_embeddings: Tensor | None = None
        self._frozen_positions: list[Any] = []

    def around(self, model: PreTrainedModel) -> Self:
        return type(self)(model, self.grid.image_size, self.head)

    @property
    def embeddings(self) -> nn.Module:
        """The stock module that makes tokens of pixels."""
        return self.family.find_embeddings(self.model)

    @property
    def backbone(self) -> nn.Module:
        """The stock module that holds embeddings and blocks."""
        return self.family.find_backbone(self.model)

    @property
    def backbone_path(self) -> str:
        """Where the backbone stands in the model, "vit"; empty if it is the model."""
        return _path_of(self.backbone, self.model)

    @property
    def embeddings_path(self) -> str:
        """Where the module that makes tokens stands in the model: "vit.embeddings"."""
        return _path_of(self.embeddings, self.model)

    @property
    def shape(self) -> Shape:
        """Sizes of the encoder."""
        return self.family.shape(self.model)

    @property
    def num_channels(self) -> int:
        return self._projection.in_channels

    @property
    def num_prefix_tokens(self) -> int:
        """R: tokens that stand before the patches (CLS, distillation, registers)."""
        constant_1ND = self._frozen_embeddings if self._frozen_embeddings is not None else self._prefix_and_positions()
        return constant_1ND.shape[1] - self.grid.num_patches

    @property
    def takes_any_tokens(self) -> bool:
        """Whether what is behind the embeddings takes tokens of any patches by themselves: it knows no positions."""
        return self.family.embeds_in_a_module and not self.family.positions(self.model, self.grid)

    @property
    def _projection(self) -> nn.Conv2d:
        return self.family.find_projection(self.model)

    @property
    def stock_arguments(self) -> dict[str, bool]:
        """Keyword arguments with which the stock model, and its embeddings, take images of the grid's size."""
        return self.family.embeddings_arguments(self.model, self.grid.image_size)

    @contextmanager
    def embeddings_bypassed(self) -> Iterator[None]:
        """While it lasts, the model runs on tokens, as `family.packed` has them, for `pixel_values`."""
        with self.family.embeddings_bypassed(self.model):
            yield

    def freeze(self) -> Self:
        """Evaluation mode, no gradient to any weight, and embeddings of positions computed once. Returns itself."""
        super().freeze()
        self._frozen_embeddings = self._prefix_and_positions()
        self._frozen_positions = [each.full() for each in self.family.positions(self.model, self.grid)]
        return self

    def compile(self, **options: object) -> None:
        """Compiles what runs after the patches are embedded, once for each number of images and of kept patches.

        Raises:
            UsageError: the model has modules that know positions, so that each batch would be compiled anew.
        """
        if self.family.positions(self.model, self.grid):
            raise UsageError(
                f"a {self.config.model_type!r} model cannot be compiled (--compile): what it computes behind the "
                f"embeddings depends on which patches are kept; leave --compile out"
            )
        # The paper's schedule has 5 numbers of kept patches, in full and in last batches: over 8 shapes, the default
        # limit, dynamo runs eagerly without an error.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        # transformers 4.57 leaves a mark on every module when attentions are first asked for, and what was compiled
        # before is compiled anew.
        every_1N = self.grid.all_patches(1, device=self._projection.weight.device)
        black_1CHW = torch.zeros(1, self.num_channels, *self.grid.image_size, device=every_1N.device)
        self.patch_attention(self.grid.cut(black_1CHW), every_1N)
        super().compile(**options)

    def _patches_output(self, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: object) -> Any:
        return self.forward_tokens(self.embed(patches_BKCPQ, kept_BK), kept_BK, **kwargs)

    def forward_tokens(
        self, tokens_BTD: Tensor, kept_BK: Tensor, *, through: nn.Module | None = None, **kwargs: object
    ) -> Any:
        """The stock output for tokens that `embed` gave.

        Args:
            through: the model as somebody wrapped it (for several processes, mixed precision, compilation).
        """
        with self.embeddings_bypassed(), self.positions_of(kept_BK):
            return (through or self._forward_model)(pixel_values=self.family.packed(tokens_BTD), **kwargs)

    @contextmanager
    def positions_of(self, kept_BK: Tensor) -> Iterator[None]:
        """While it lasts, modules that know positions give what belongs to the kept patches."""
        places, known = self.family.positions(self.model, self.grid), self._frozen_positions
        weight = self._projection.weight
        is_known = len(known) == len(places) and all(_is_like(value, weight) for value in known)
        with ExitStack() as stack:
            for number, each in enumerate(places):
                stack.enter_context(_gathering(each, known[number] if is_known else None, kept_BK))
            yield

    def _stock_output(self, pixels_BCHW: Tensor) -> Any:
        return self.model(pixel_values=pixels_BCHW, **self.stock_arguments)

    def embed(self, patches_BKCPQ: Tensor, kept_BK: Tensor) -> Tensor:
        """Tokens of patches, (B, T, D): what the stock embeddings give, without the pruned patches."""
        constant_1ND = self._frozen_embeddings
        projection = self._projection
        if constant_1ND is None or (constant_1ND.device, constant_1ND.dtype) != (
            projection.weight.device,
            projection.weight.dtype,
        ):
            constant_1ND = self._prefix_and_positions()
        num_prefix = constant_1ND.shape[1] - self.grid.num_patches
        # A convolution whose stride is its kernel is a linear map of each patch.
        patches_BKD = F.linear(
            patches_BKCPQ.flatten(2).to(projection.weight.dtype), projection.weight.flatten(1), projection.bias
        )
        positions_BKD = take_slots(constant_1ND[:, num_prefix:].expand(len(kept_BK), -1, -1), kept_BK)
        prefix_BRD = constant_1ND[:, :num_prefix].expand(len(kept_BK), -1, -1)
        return self.family.drop(self.model, torch.cat([prefix_BRD, patches_BKD + positions_BKD], dim=1))

    def _prefix_and_positions(self) -> Tensor:
        """What the stock embeddings add to the projected patches: prefix tokens, then positions, (1, R + N, D).

        Read off the stock module by running it on black images with the projection's weights set to zero, so that
        registers, distillation tokens and interpolated positions come out as that module defines them.
        """
        projection = self._projection
        # Two: expanded to a batch of one, the CLS token would get a gradient with strides of its own, which
        # DistributedDataParallel copies and warns of.
        black_2CHW = torch.zeros(2, self.num_channels, *self.grid.image_size).to(projection.weight)
        with evaluating(self.embeddings), _silenced(projection):
            return self.family.embed(self.model, black_2CHW, **self.stock_arguments)[:1]

    @property
    def reads_from(self) -> str:
        return self.family.reads_from(self.model)

    @torch.no_grad()
    def patch_attention(self, patches_BKCPQ: Tensor, kept_BK: Tensor) -> Tensor:
        """How much of the answer is read from each patch, by attention: float (B, K), >= 0.

        Where the answer is read from the CLS token, its attention to each patch in the last block, mean over heads
        (Sparse Model Inversion, section 3.2). Where a query pools the patches (SigLIP), its attention. Where their
        mean is taken, what each patch receives in the last block: mean over heads and over the tokens that attend.

        The one place that asks for `output_attentions`, under eager attention, as fused kernels return none.
        """
        tokens_BTD, source = self.embed(patches_BKCPQ, kept_BK), self.reads_from
        if source == "query":
            with self.family.attention_of_query(self.model) as seen:
                self.forward_tokens(tokens_BTD, kept_BK, through=self.model)
            (attention_BK,) = seen
            return attention_BK.float()
        attentions = self.attentions(tokens_BTD, kept_BK)[1]
        to_patches_BATK = attentions[-1][..., -kept_BK.shape[1] :].float()
        return to_patches_BATK[:, :, 0].mean(dim=1) if source == "cls" else to_patches_BATK.mean(dim=(1, 2))

    def attentions(self, tokens_BTD: Tensor, kept_BK: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
        """The stock output for tokens, and the attention of every block, (B, A, T, T) each; with gradients."""
        with self.family.attentions_seen(self.model) as (arguments, seen):
            output = self.forward_tokens(tokens_BTD, kept_BK, through=self.model, **arguments)
        attentions = tuple(seen or output.attentions or ())
        assert attentions, f"{type(self.model).__name__} returned no attentions under eager attention"
        return output, attentions

    @torch.no_grad()
    def verify(self) -> None:
        """Checks on a random image that all patches kept gives the stock model's answer.

        Raises:
            UsageError: it does not, so this checkpoint departs from its family; or its family reads a CLS token, and
                there is none.
        """
        if self.reads_from == "cls" and self.num_prefix_tokens < 1:
            raise UsageError(
                f"this {self.config.model_type!r} checkpoint has no CLS token before its patches, so they have no CLS "
                f"attention to be ranked by; it cannot be inverted"
            )
        super().verify()


def _path_of(part: nn.Module, whole: nn.Module) -> str:
    return next(path for path, module in whole.named_modules() if module is part)


@contextmanager
def _silenced(projection: nn.Conv2d) -> Iterator[None]:
    """While it lasts, a convolution adds nothing, and no gradient reaches its weights through it."""

    def nothing(pixels_BCHW: Tensor) -> Tensor:
        (height, width), (patch_height, patch_width) = pixels_BCHW.shape[2:], projection.kernel_size
        size = (len(pixels_BCHW), projection.out_channels, height // patch_height, width // patch_width)
        return torch.zeros(size).to(projection.weight)

    with method_replaced(projection, "forward", nothing):
        yield


@contextmanager
def _gathering(place: Positions, known: Any, kept_BK: Tensor) -> Iterator[None]:
    """While it lasts, a module gives what belongs to the kept patches, computed when it is asked.

    Args:
        known: what it gives for the whole grid; None to compute it, with gradients.
    """

    def gather(*args: object, **kwargs: object) -> Any:
        return place.gathered(place.full() if known is None else known, kept_BK)

    with method_replaced(place.module, place.method, gather):
        yield


def _is_like(value: Any, weight: Tensor) -> bool:
    """Whether a tensor, or each of a tuple, has the device and type of a weight."""
    if isinstance(value, tuple):
        return all(_is_like(each, weight) for each in value)
    return (value.device, value.dtype) == (weight.device, weight.dtype)
