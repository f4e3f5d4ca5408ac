"""Vision Transformers of timm, as transformers wraps them: DeiT, AugReg, DINOv2, SigLIP and CLIP towers, EVA.

timm is needed to load one (`smi-hf[timm]`), not to import this. Its other architectures are shown whole images.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `A` heads, `T` tokens, `D` hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from smi_hf.models.attention import attention_implementation
from smi_hf.models.embeddings import Reading
from smi_hf.models.families.base import Positions, ReadFrom, Shape, ViTFamily, register_family, return_tokens
from smi_hf.models.for_a_while import evaluating, method_replaced
from smi_hf.patches.grid import PatchGrid

_SERVED = ("VisionTransformer", "VisionTransformerDistilled", "Eva")
_POOLED_PATCHES = ("avg", "avgmax", "max")


class TimmFamily(ViTFamily):
    """See the module."""

    # Where things are.

    def why_not(self, model: PreTrainedModel) -> str | None:
        inner = model.timm_model
        if type(inner).__name__ not in _SERVED:
            return f"it is timm's {type(inner).__name__}, and of timm those can that are {', '.join(_SERVED)}"
        if getattr(inner, "rope_mixed", False):
            return "its rotary positions are learned, and differ from layer to layer"
        embed = inner.patch_embed
        if not isinstance(getattr(embed, "norm", None), nn.Identity) or not isinstance(embed.proj, nn.Conv2d):
            return f"its patches are not embedded by a convolution alone, but by a {type(embed).__name__}"
        pool = getattr(inner, "attn_pool", None)
        if pool is not None and type(pool).__name__ != "AttentionPoolLatent":
            return f"it pools patches by timm's {type(pool).__name__}, which is not a query of its own"
        if not all(hasattr(block, "attn") and hasattr(block.attn, "attn_drop") for block in inner.blocks):
            return f"its attention ({type(inner.blocks[0].attn).__name__}) cannot be looked at"
        return None

    def find_backbone(self, model: PreTrainedModel) -> nn.Module:
        return model.timm_model

    def find_embeddings(self, model: PreTrainedModel) -> nn.Module:
        return model.timm_model.patch_embed

    def native_grid(self, model: PreTrainedModel) -> PatchGrid:
        embed = model.timm_model.patch_embed
        return PatchGrid.from_sizes(tuple(embed.img_size), tuple(embed.patch_size))

    def shape(self, model: PreTrainedModel) -> Shape:
        inner = model.timm_model
        block = inner.blocks[0]
        return Shape(inner.embed_dim, len(inner.blocks), block.attn.num_heads, block.mlp.fc2.in_features)

    def head_mixer(self, block: nn.Module) -> nn.Module:
        return block.attn.proj

    def mlps_beside(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        pool = getattr(model.timm_model, "attn_pool", None)
        return [] if pool is None or pool.mlp is None else [pool.mlp]

    # How tokens enter.

    def embed(self, model: PreTrainedModel, pixels_BCHW: Tensor, **arguments: Any) -> Tensor:
        inner = model.timm_model
        # timm drops out where it adds positions; that is for `drop`, once.
        with evaluating(inner.pos_drop):
            tokens = inner._pos_embed(inner.patch_embed(pixels_BCHW))
        return tokens[0] if isinstance(tokens, tuple) else tokens

    def drop(self, model: PreTrainedModel, tokens_BTD: Tensor) -> Tensor:
        return model.timm_model.pos_drop(tokens_BTD)

    @contextmanager
    def embeddings_bypassed(self, model: PreTrainedModel) -> Iterator[None]:
        inner = model.timm_model
        with super().embeddings_bypassed(model), method_replaced(inner, "_pos_embed", self._rotated(inner)):
            yield

    def _rotated(self, inner: nn.Module) -> Callable[[Tensor], Any]:
        """What stands for the method that adds positions: tokens have them, and rotary ones go beside them."""
        if type(inner).__name__ != "Eva":
            return return_tokens
        return lambda tokens_BTD: (tokens_BTD, None if inner.rope is None else inner.rope.get_embed())

    def positions(self, model: PreTrainedModel, grid: PatchGrid) -> Sequence[Positions]:
        rope = getattr(model.timm_model, "rope", None)
        if rope is None:
            return []

        def full() -> Tensor:
            return type(rope).get_embed(rope, shape=[grid.rows, grid.columns])

        # Sine and cosine of each patch, the same for every head.
        return [Positions(rope, full, lambda both_NE, kept_BK: both_NE[kept_BK][:, None], method="get_embed")]

    # How an answer is read.

    def reads_from(self, model: PreTrainedModel) -> ReadFrom:
        inner = model.timm_model
        if getattr(inner, "attn_pool", None) is not None:
            return "query"
        return "patches" if inner.global_pool in _POOLED_PATCHES else "cls"

    @contextmanager
    def attentions_seen(self, model: PreTrainedModel) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
        seen: list[Tensor] = []
        with ExitStack() as stack:
            stack.enter_context(attention_implementation(model, "eager"))
            for block in model.timm_model.blocks:
                # What enters the dropout of weights is (B, A, T, T).
                stack.callback(
                    block.attn.attn_drop.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])).remove
                )
            yield {}, seen

    @contextmanager
    def attention_of_query(self, model: PreTrainedModel) -> Iterator[list[Tensor]]:
        pool, read, seen = model.timm_model.attn_pool, {}, []

        def look(module: nn.Module, inputs: tuple[Tensor, ...], key_BAKE: Tensor) -> None:
            weights_BAQK = (read.pop("query") * pool.scale @ key_BAKE.transpose(-2, -1)).softmax(-1)
            num_prefix = 0 if not model.timm_model.pool_include_prefix else model.timm_model.num_prefix_tokens
            seen.append(weights_BAQK[..., num_prefix:].mean(dim=(1, 2)))

        with ExitStack() as stack:
            stack.callback(pool.q_norm.register_forward_hook(lambda _, inputs, query: read.update(query=query)).remove)
            stack.callback(pool.k_norm.register_forward_hook(look).remove)
            yield seen

    # Configurations and checkpoints without a classification head.

    def tell_depth(self, model: PreTrainedModel, num_layers: int) -> None:
        model.config.model_args = {**(model.config.model_args or {}), "depth": num_layers}

    def tell_width(self, model: PreTrainedModel, num_units: int) -> None:
        size = model.timm_model.embed_dim
        # timm rounds down.
        ratio = next(each for each in (num_units / size, (num_units + 0.5) / size) if int(size * each) == num_units)
        model.config.model_args = {**(model.config.model_args or {}), "mlp_ratio": ratio}

    def width_step(self, model: PreTrainedModel) -> int:
        return 1

    def reading(self, model: PreTrainedModel, num_prefix: int) -> Reading:
        return Reading("pooler_output", "given")


# timm adds positions and the CLS token in a method of the whole.
register_family(
    "timm_wrapper",
    TimmFamily(backbone="timm_model", projection="proj", can_interpolate=False, embeds_in_a_module=False),
)
