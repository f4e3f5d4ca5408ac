"""What a model family has to say about itself, and which families are refused and why."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PretrainedConfig

from smi_hf.errors import UsageError
from smi_hf.patches.grid import PatchGrid
from smi_hf.registry import Registry, suggest


@dataclass(frozen=True)
class ViTFamily:
    """A family whose tokens are prefix tokens followed by one independent token per patch.

    "Independent" means that a patch's position enters through its own embedding alone: then leaving tokens out of the
    stock forward is all there is to a sparse forward. The first prefix token must be the CLS token.

    Args:
        backbone: attribute of the classifier that holds the backbone; its `embeddings` make the tokens.
        interpolates_by_itself: whether the stock forward takes other image sizes without being asked to
            (`interpolate_pos_encoding=True`), so that the image processor may choose the size.
    """

    backbone: str
    interpolates_by_itself: bool = False

    def embeddings_arguments(self, config: PretrainedConfig, image_size: tuple[int, int]) -> dict[str, bool]:
        """Keyword arguments with which the stock embeddings accept images of that size.

        Raises:
            UsageError: positions would have to be interpolated, and those of a grid that is not square cannot be.
        """
        native = PatchGrid.from_sizes(config.image_size, config.patch_size)
        if image_size == native.image_size and (native.rows == native.columns or not self.interpolates_by_itself):
            return {}
        # The stock models take the number of positions for a square: a wrong shape, or positions scrambled in silence.
        if native.rows != native.columns:
            raise UsageError(
                f"the positions of this {config.model_type!r} model's {native.rows}x{native.columns} patches cannot "
                f"be interpolated, which transformers does for square grids alone; use a model of square images"
                + (
                    ""
                    if self.interpolates_by_itself
                    else f", or images of {native.image_height}x{native.image_width} px"
                )
            )
        return {} if self.interpolates_by_itself else {"interpolate_pos_encoding": True}

    def head_mixer(self, block: nn.Module) -> nn.Module:
        """The linear layer of a block that mixes what its heads have read."""
        attention = block.attention
        return attention.o_proj if hasattr(attention, "o_proj") else attention.output.dense


FAMILIES: Registry[ViTFamily] = Registry("model family", "smi_hf.models.families")


def register_family(model_type: str, family: ViTFamily) -> None:
    """Files a family under the `model_type` of its configuration."""
    FAMILIES.register(model_type)(family)


def import_family(name_or_path: str, **options: Any) -> None:
    """Imports the plug-in of a checkpoint's `model_type`, if there is one: it may tell transformers of its classes.

    Args:
        options: as for `from_pretrained`, which fails as this does.

    Raises:
        UsageError: the plug-in fails.
    """
    if not any(map(FAMILIES.not_imported_from, FAMILIES.names())):
        return
    values, _ = PretrainedConfig.get_config_dict(name_or_path, **options)
    if FAMILIES.not_imported_from(model_type := str(values.get("model_type"))):
        FAMILIES.get(model_type)


_WINDOWS = "attends within windows of neighbouring patches, which pruning would tear apart"
_RELATIVE = "adds a relative position bias of the full grid to its attention"
_ROTARY = "rotates queries and keys by positions of the full grid (RoPE)"
_NO_CLS = "classifies without a CLS token, so patches have no CLS attention to be ranked by"
UNSUPPORTED: dict[str, str] = {
    "swin": _WINDOWS,
    "swinv2": _WINDOWS,
    "donut-swin": _WINDOWS,
    "hiera": _WINDOWS,
    "beit": _RELATIVE,
    "data2vec-vision": _RELATIVE,
    "dinov3_vit": _ROTARY,
    "siglip": _NO_CLS,
    "siglip2": _NO_CLS,
    "clip": _NO_CLS,
    "mobilevit": "mixes convolutions with attention over unfolded pixels",
    "levit": "shrinks its grid between stages",
    "pvt": "shrinks its grid between stages",
    "pvt_v2": "shrinks its grid between stages",
    "segformer": "shrinks its grid between stages",
    "cvt": "embeds patches that overlap",
}


def find_family(config: PretrainedConfig) -> ViTFamily:
    """The family of a configuration.

    Raises:
        UsageError: none serves it; says why where that is known, and lists those that are served.
    """
    model_type = config.model_type
    if model_type in FAMILIES:
        return FAMILIES.get(model_type)
    if model_type in UNSUPPORTED:
        reason = f"it {UNSUPPORTED[model_type]}"
    elif not hasattr(config, "patch_size") or not hasattr(config, "num_attention_heads"):
        reason = "it is not a plain Vision Transformer (no patch size or attention heads in its configuration)"
    else:
        reason = f"no family is registered for it{suggest(model_type, FAMILIES.names())}"
    raise UsageError(
        f"model type {model_type!r} cannot be inverted sparsely: {reason}. Supported: {', '.join(FAMILIES.names())}"
    )
