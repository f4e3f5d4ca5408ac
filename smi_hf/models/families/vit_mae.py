"""ViT-MAE: its encoder is a ViT, and is loaded as one, without the masking and the decoder of its training."""

from typing import Any

from transformers import PretrainedConfig, ViTConfig, ViTModel

from smi_hf.models.families.base import ViTFamily, register_family

# Of pre-training alone.
_OF_TRAINING = ("decoder_", "mask_ratio", "norm_pix_loss", "model_type", "architectures", "transformers_version")


class MaeFamily(ViTFamily):
    """See the module: after loading, all is that of the family `vit`."""

    def bare_class(self, config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
        values = {name: value for name, value in config.to_dict().items() if not name.startswith(_OF_TRAINING)}
        return ViTModel, {"config": ViTConfig(**values, architectures=["ViTModel"]), "add_pooling_layer": False}


register_family("vit_mae", MaeFamily(backbone="vit"))
