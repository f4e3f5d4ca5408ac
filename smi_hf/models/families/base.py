"""What a model family has to say about itself, and the families that there are.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `R` prefix tokens, `T = R + K` tokens, `D` hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from smi_hf.errors import UsageError
from smi_hf.models.attention import attention_implementation
from smi_hf.models.embeddings import Reading
from smi_hf.models.for_a_while import method_replaced
from smi_hf.patches.grid import PatchGrid
from smi_hf.registry import Registry

# Which tokens an answer is read from: the CLS token, the mean of the patches, or a query that attends to them.
ReadFrom = Literal["cls", "patches", "query"]


@dataclass(frozen=True)
class Positions:
    """A module whose output depends on where patches are: rotary angles, a relative position bias.

    Args:
        module: a part of the model.
        full: what it gives for the whole grid.
        gathered: from that and places (B, K) to what it would give for those patches, an entry for each image.
        method: of the module, which the model asks for it.
    """

    module: nn.Module
    full: Callable[[], Any]
    gathered: Callable[[Any, Tensor], Any]
    method: str = "forward"


@dataclass(frozen=True)
class Shape:
    """Sizes of the encoder of a model.

    Args:
        hidden_size: D.
        num_layers: blocks.
        num_heads: of each block.
        mlp_size: hidden units of an MLP.
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    mlp_size: int


@dataclass(frozen=True)
class ViTFamily:
    """A family whose tokens are prefix tokens followed by one token per patch.

    Of a plain one a patch's position enters through its own embedding alone: then leaving tokens out of the stock
    forward is all there is to a sparse forward. Others list the modules that know positions, too (`positions`).

    A family that departs from this overrides a method; each takes the Hugging Face model, a classifier or a bare one.

    Args:
        backbone: attribute of a classifier that holds the backbone, whose `embeddings` make the tokens; a model
            without it is its own backbone.
        interpolates_by_itself: whether the stock forward takes other image sizes without being asked to
            (`interpolate_pos_encoding=True`), so that the image processor may choose the size.
        projection: the convolution that embeds patches, within the embeddings.
        can_interpolate: whether images of another size than the configuration's can be shown at all.
        bare_options: keyword arguments with which `AutoModel` loads a checkpoint without a classification head.
        embeds_in_a_module: whether `find_embeddings` gives the tokens as the blocks take them, so that an exported
            graph can be cut there.
    """

    backbone: str
    interpolates_by_itself: bool = False
    projection: str = "patch_embeddings.projection"
    can_interpolate: bool = True
    bare_options: tuple[tuple[str, Any], ...] = ()
    embeds_in_a_module: bool = True

    # Where things are.

    def why_not(self, model: PreTrainedModel) -> str | None:
        """Why a model of this family cannot be shown single patches, as the end of a sentence; None if it can."""
        return None

    def vision_config(self, model: PreTrainedModel) -> PretrainedConfig:
        """The part of the configuration that is about images."""
        return getattr(model.config, "vision_config", model.config)

    def find_backbone(self, model: PreTrainedModel) -> nn.Module:
        """The module that holds embeddings and blocks."""
        return getattr(model, self.backbone, model)

    def find_embeddings(self, model: PreTrainedModel) -> nn.Module:
        """The module that makes tokens of pixels."""
        return self.find_backbone(model).embeddings

    def find_projection(self, model: PreTrainedModel) -> nn.Conv2d:
        """The convolution that embeds patches."""
        return self.find_embeddings(model).get_submodule(self.projection)

    def native_grid(self, model: PreTrainedModel) -> PatchGrid:
        """The patch grid of the images that a model is made for."""
        vision = self.vision_config(model)
        return PatchGrid.from_sizes(vision.image_size, vision.patch_size)

    def shape(self, model: PreTrainedModel) -> Shape:
        """Sizes of the encoder."""
        vision = self.vision_config(model)
        hidden_size = vision.hidden_size
        has_ratio = hasattr(vision, "mlp_ratio")
        mlp_size = int(hidden_size * vision.mlp_ratio) if has_ratio else vision.intermediate_size
        return Shape(hidden_size, vision.num_hidden_layers, vision.num_attention_heads, mlp_size)

    def head_mixer(self, block: nn.Module) -> nn.Module:
        """The linear layer of a block that mixes what its heads have read."""
        attention = getattr(block, "attention", None) or block.self_attn
        for name in ("o_proj", "out_proj"):
            if hasattr(attention, name):
                return getattr(attention, name)
        return attention.output.dense

    def mlps_beside(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        """MLPs outside of the blocks that the configuration gives as many hidden units as those of the blocks."""
        return ()

    # How tokens enter.

    def embeddings_arguments(self, model: PreTrainedModel, image_size: tuple[int, int]) -> dict[str, bool]:
        """Keyword arguments with which the stock model and its embeddings accept images of that size.

        Raises:
            UsageError: positions would have to be interpolated, and those of this family, or of a grid that is not
                square, cannot be.
        """
        native, model_type = self.native_grid(model), model.config.model_type
        if image_size == native.image_size and (native.rows == native.columns or not self.interpolates_by_itself):
            return {}
        if not self.can_interpolate:
            raise UsageError(
                f"a {model_type!r} model takes images of {native.image_height}x{native.image_width} px and no "
                f"others, but {image_size[0]}x{image_size[1]} was asked for; leave out image_size"
            )
        # The stock models take the number of positions for a square: a wrong shape, or positions scrambled in silence.
        if native.rows != native.columns:
            raise UsageError(
                f"the positions of this {model_type!r} model's {native.rows}x{native.columns} patches cannot "
                f"be interpolated, which transformers does for square grids alone; use a model of square images"
                + (
                    ""
                    if self.interpolates_by_itself
                    else f", or images of {native.image_height}x{native.image_width} px"
                )
            )
        return {} if self.interpolates_by_itself else {"interpolate_pos_encoding": True}

    def embed(self, model: PreTrainedModel, pixels_BCHW: Tensor, **arguments: Any) -> Tensor:
        """What the stock embeddings give, (B, R + N, D)."""
        return self.find_embeddings(model)(pixels_BCHW, **arguments)

    def drop(self, model: PreTrainedModel, tokens_BTD: Tensor) -> Tensor:
        """Tokens as dropout leaves them behind the embeddings."""
        dropout = getattr(self.find_embeddings(model), "dropout", None)
        return tokens_BTD if dropout is None else dropout(tokens_BTD)

    @contextmanager
    def embeddings_bypassed(self, model: PreTrainedModel) -> Iterator[None]:
        """While it lasts, a model that is given `packed` tokens for `pixel_values` runs on them.

        No module is replaced.
        """
        with method_replaced(self.find_embeddings(model), "forward", self.unpacker(model)):
            yield

    def packed(self, tokens_BTD: Tensor) -> Tensor:
        """Tokens as they are handed over for `pixel_values` while embeddings are bypassed."""
        return tokens_BTD

    def unpacker(self, model: PreTrainedModel) -> Callable[..., Any]:
        """What stands in for the forward of bypassed embeddings, and makes tokens of what `packed` gave.

        The same function at each call: torch.compile guards on its identity.
        """
        return return_tokens

    def positions(self, model: PreTrainedModel, grid: PatchGrid) -> Sequence[Positions]:
        """The modules behind the embeddings that know positions; none of a plain family."""
        return ()

    # How an answer is read.

    def reads_from(self, model: PreTrainedModel) -> ReadFrom:
        """Which tokens the answer is read from, after which patches are ranked."""
        return "cls"

    @contextmanager
    def attentions_seen(self, model: PreTrainedModel) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
        """While it lasts, a forward with these keyword arguments gives attention: in its output, or in the list."""
        with attention_implementation(model, "eager"):
            yield {"output_attentions": True}, []

    @contextmanager
    def attention_of_query(self, model: PreTrainedModel) -> Iterator[list[Tensor]]:
        """While it lasts, a forward appends how much the pooling query attends to each patch, (B, K).

        For families whose answer is read by a query alone.
        """
        raise NotImplementedError(f"{type(model).__name__} has no query that pools patches")
        yield []

    # What the configuration of a smaller model says.

    def tell_depth(self, model: PreTrainedModel, num_layers: int) -> None:
        """Writes the number of layers where the configuration of a model has it."""
        config = self.vision_config(model)
        config.num_hidden_layers = num_layers
        if hasattr(config, "stage_names"):
            # A backbone's names of its stages, of which the last was its output.
            config.stage_names = config.stage_names[: num_layers + 1]
            config.out_features = config.stage_names[-1:]

    def tell_width(self, model: PreTrainedModel, num_units: int) -> None:
        """Writes the number of hidden units of an MLP where the configuration of a model has it, and can say it."""
        config = self.vision_config(model)
        if not hasattr(config, "mlp_ratio"):
            config.intermediate_size = num_units
        elif num_units % config.hidden_size == 0:
            # transformers 5 takes a whole number alone.
            config.mlp_ratio = num_units // config.hidden_size

    def width_step(self, model: PreTrainedModel) -> int:
        """What the configuration of a model counts hidden units in: 1, or its hidden size if it has a ratio alone."""
        config = self.vision_config(model)
        return config.hidden_size if hasattr(config, "mlp_ratio") else 1

    # Checkpoints without a classification head.

    def bare_class(self, config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
        """The class that loads an image tower or a backbone, and keyword arguments for its `from_pretrained`."""
        from transformers import AutoModel

        return AutoModel, dict(self.bare_options)

    def reading(self, model: PreTrainedModel, num_prefix: int) -> Reading:
        """How the embedding of an image is read off the output of a bare model."""
        pooling = "first" if self.reads_from(model) == "cls" else "patches"
        return Reading("last_hidden_state", pooling, num_prefix if pooling == "patches" else 0)


def return_tokens(tokens_BTD: Tensor, *args: object, **kwargs: object) -> Tensor:
    """Stands in for the forward of embeddings that are handed finished tokens."""
    return tokens_BTD


FAMILIES: Registry[ViTFamily] = Registry("model family", "smi_hf.models.families")


def family_name(model_type: str) -> str:
    """The name of the file of a family: model types may have hyphens, modules of Python may not."""
    return model_type.replace("-", "_")


def register_family(model_type: str, family: ViTFamily) -> None:
    """Files a family under the `model_type` of its configuration."""
    FAMILIES.register(family_name(model_type))(family)


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
    if FAMILIES.not_imported_from(name := family_name(str(values.get("model_type")))):
        FAMILIES.get(name)
