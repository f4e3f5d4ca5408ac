"""Sparse forward over Hugging Face classifiers: any subset of patches, at a cost that grows with the subset.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `R` prefix tokens, `T = R + K` tokens, `D` hidden size,
`C` channels, `H W` image pixels, `P Q` patch pixels, `L` labels.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from smi_hf.errors import UsageError
from smi_hf.models.families.base import find_family
from smi_hf.models.loading import answer_by_name
from smi_hf.patches.grid import PatchGrid, take_slots


def _return_tokens(tokens_BTD: Tensor, *args: object, **kwargs: object) -> Tensor:
    """Stands in for the forward of an embeddings module that is handed finished tokens."""
    return tokens_BTD


@contextmanager
def embeddings_bypassed(embeddings: nn.Module) -> Iterator[None]:
    """While it lasts, the embeddings module returns what it is given; the module itself stays in place."""
    # One function for all calls: torch.compile guards on its identity.
    embeddings.forward = _return_tokens
    try:
        yield
    finally:
        del embeddings.forward


@contextmanager
def attention_implementation(model: PreTrainedModel, name: str) -> Iterator[None]:
    """While it lasts, the model attends with that implementation ("eager", "sdpa", ...)."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class SparseClassifier(nn.Module):
    """A Hugging Face image classifier that can be shown any subset of an image's patches.

    Patches are embedded where they are kept and nowhere else; the stock forward then runs on the shorter sequence.
    Nothing of the model is replaced: weights, hooks and state dict stay as they are, and it can be used beside this.
    Gradients flow to the pixels and to whatever of the model requires them.

    Args:
        model: a classifier of a registered family (`smi_hf.models.families`).
        image_size: side, or (height, width), in pixels; the model's own if None. Another size interpolates the
            position embeddings as the stock model does.

    Raises:
        UsageError: the family cannot be served, or the patches do not tile that size.
    """

    def __init__(self, model: PreTrainedModel, image_size: int | tuple[int, int] | None = None) -> None:
        super().__init__()
        answer_by_name(model)
        self.model = model
        self.family = find_family(model.config)
        self.grid = PatchGrid.from_sizes(image_size or model.config.image_size, model.config.patch_size)
        self._frozen_embeddings: Tensor | None = None
        self._forward_tokens = model

    @property
    def config(self):
        return self.model.config

    @property
    def embeddings(self) -> nn.Module:
        """The stock module that makes tokens of pixels."""
        return getattr(self.model, self.family.backbone).embeddings

    @property
    def num_channels(self) -> int:
        return self._projection.in_channels

    @property
    def num_prefix_tokens(self) -> int:
        """R: tokens that stand before the patches (CLS, distillation, registers)."""
        constant_1ND = self._frozen_embeddings if self._frozen_embeddings is not None else self._prefix_and_positions()
        return constant_1ND.shape[1] - self.grid.num_patches

    @property
    def _projection(self) -> nn.Conv2d:
        return self.embeddings.patch_embeddings.projection

    def freeze(self) -> "SparseClassifier":
        """Evaluation mode, no gradient to any weight, and embeddings of positions computed once. Returns itself."""
        self.eval().requires_grad_(False)
        self._frozen_embeddings = self._prefix_and_positions()
        return self

    def compile(self, **options: object) -> None:
        """Compiles what runs after the patches are embedded, once for each number of images and of kept patches."""
        # The paper's schedule has 5 numbers of kept patches, in full and in last batches: over 8 shapes, the default
        # limit, dynamo runs eagerly without an error.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        # transformers 4.57 leaves a mark on every module when attentions are first asked for, and what was compiled
        # before is compiled anew.
        every_1N = self.grid.all_patches(1, device=self._projection.weight.device)
        black_1CHW = torch.zeros(1, self.num_channels, *self.grid.image_size, device=every_1N.device)
        self.cls_attention(self.grid.cut(black_1CHW), every_1N)
        self._forward_tokens = torch.compile(self.model, dynamic=False, **options)

    def forward(
        self, pixel_values: Tensor, kept_patches: Tensor | None = None, **kwargs: object
    ) -> ImageClassifierOutput:
        """The classifier's answer to the kept patches of images.

        Args:
            pixel_values: normalized images, float (B, C, H, W).
            kept_patches: places of the patches to look at, int64 (B, K); all of them if None.
            **kwargs: handed on to the stock forward (`output_attentions`, `output_hidden_states`).

        Returns:
            The stock output; `logits` is (B, L), attentions and hidden states have T tokens.
        """
        if kept_patches is None:
            kept_patches = self.grid.all_patches(len(pixel_values), device=pixel_values.device)
        return self.forward_patches(self.grid.cut(pixel_values, kept_patches), kept_patches, **kwargs)

    def forward_patches(self, patches_BKCPQ: Tensor, kept_BK: Tensor, **kwargs: object) -> ImageClassifierOutput:
        """As `forward`, from patches that are already cut out: normalized, float (B, K, C, P, Q)."""
        tokens_BTD = self.embed(patches_BKCPQ, kept_BK)
        with embeddings_bypassed(self.embeddings):
            return self._forward_tokens(pixel_values=tokens_BTD, **kwargs)

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
        return self.embeddings.dropout(torch.cat([prefix_BRD, patches_BKD + positions_BKD], dim=1))

    def _prefix_and_positions(self) -> Tensor:
        """What the stock embeddings add to the projected patches: prefix tokens, then positions, (1, R + N, D).

        Read off the stock module by running it on black images with the projection's weights set to zero, so that
        registers, distillation tokens and interpolated positions come out as that module defines them.
        """
        weight = self._projection.weight
        # Two: expanded to a batch of one, the CLS token would get a gradient with strides of its own, which
        # DistributedDataParallel copies and warns of.
        black_2CHW = torch.zeros(2, self.num_channels, *self.grid.image_size, dtype=weight.dtype, device=weight.device)
        prefix = "patch_embeddings.projection."
        silent = {prefix + name: torch.zeros_like(value) for name, value in self._projection.named_parameters()}
        arguments = self.family.embeddings_arguments(self.config, self.grid.image_size)
        training = self.embeddings.training
        self.embeddings.eval()
        try:
            return torch.func.functional_call(self.embeddings, silent, (black_2CHW,), arguments)[:1]
        finally:
            self.embeddings.train(training)

    @torch.no_grad()
    def cls_attention(self, patches_BKCPQ: Tensor, kept_BK: Tensor) -> Tensor:
        """How much the CLS token attends to each patch in the last block, mean over heads: float (B, K), >= 0.

        The one place that asks for `output_attentions`, under eager attention, as fused kernels return none.
        Source: Sparse Model Inversion, section 3.2.
        """
        tokens_BTD = self.embed(patches_BKCPQ, kept_BK)
        with attention_implementation(self.model, "eager"), embeddings_bypassed(self.embeddings):
            attentions = self.model(pixel_values=tokens_BTD, output_attentions=True).attentions
        assert attentions, f"{type(self.model).__name__} returned no attentions under eager attention"
        return attentions[-1][:, :, 0, -kept_BK.shape[1] :].float().mean(dim=1)

    @torch.no_grad()
    def verify(self) -> None:
        """Checks on a random image that all patches kept gives the stock model's logits.

        Raises:
            UsageError: it does not, so this checkpoint departs from its family; or there is no CLS token.
        """
        if self.num_prefix_tokens < 1:
            raise UsageError(
                f"this {self.config.model_type!r} checkpoint has no CLS token before its patches, so they have no CLS "
                f"attention to be ranked by; it cannot be inverted"
            )
        weight = self._projection.weight
        generator = torch.Generator().manual_seed(0)
        pixels_1CHW = torch.randn(1, self.num_channels, *self.grid.image_size, generator=generator).to(weight)
        arguments = self.family.embeddings_arguments(self.config, self.grid.image_size)
        dense_1L = self.model(pixel_values=pixels_1CHW, **arguments).logits
        sparse_1L = self(pixels_1CHW).logits
        if not dense_1L.isfinite().all():
            raise UsageError(
                f"the logits of this {self.config.model_type!r} checkpoint are not finite on a random image: its "
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
