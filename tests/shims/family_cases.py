"""A tiny model of every family and of its variants, from configurations alone, with random weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, PreTrainedModel

from smi_hf.environment import package_version
from smi_hf.models import EmbeddingHead, SparseClassifier
from smi_hf.models.families.base import FAMILIES
from smi_hf.models.lookup import find_family

NUM_LABELS = 5
ENCODER = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
OF_IMAGES = {**ENCODER, "image_size": 32, "patch_size": 8}
OF_TIMM = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2}
# Of a tower of texts, which no image classifier has.
OF_TEXTS = {**ENCODER, "vocab_size": 99, "max_position_embeddings": 16, "eos_token_id": 98, "bos_token_id": 97}


@dataclass(frozen=True)
class FamilyCase:
    """A model of a family.

    Args:
        family: the file of it in `smi_hf/models/families`.
        make: the stock model.
        num_prefix: tokens before the patches.
        image_size: (height, width) that it is used with; its own if None.
    """

    family: str
    make: Callable[[], PreTrainedModel]
    num_prefix: int
    image_size: tuple[int, int] | None = None

    def wrap(self, model: PreTrainedModel) -> SparseClassifier:
        """The model as engines ask it; one without a classification head gets random directions."""
        return SparseClassifier(model, self.image_size, head_for(model))


def head_for(model: PreTrainedModel) -> EmbeddingHead | None:
    """Random directions for a model without a classification head, None for a classifier."""
    if "ForImageClassification" in type(model).__name__:
        return None
    family = find_family(model)
    reading = family.reading(model, SparseClassifier(model).num_prefix_tokens)
    grid, weight = family.native_grid(model), family.find_projection(model).weight
    was_training = model.training
    with torch.no_grad():
        output = model.eval()(pixel_values=torch.zeros(1, weight.shape[1], *grid.image_size).to(weight))
    model.train(was_training)
    size = reading(getattr(output, reading.output)).shape[1]
    directions_LD = torch.randn(NUM_LABELS, size, generator=torch.Generator().manual_seed(0))
    names = [f"direction {number}" for number in range(NUM_LABELS)]
    return EmbeddingHead(directions_LD, names, reading, kind="random", scale=10.0)


def classifier(prefix: str, **changes: Any) -> Callable[[], PreTrainedModel]:
    """Makes the classifier of a family by the prefix of its classes: "ViT"."""
    suffix = changes.pop("suffix", "ForImageClassification")
    return lambda: getattr(transformers, f"{prefix}{suffix}")(
        getattr(transformers, f"{prefix}Config")(**OF_IMAGES | {"num_labels": NUM_LABELS} | changes)
    )


def bare(prefix: str, options: Mapping[str, Any] | None = None, **changes: Any) -> Callable[[], PreTrainedModel]:
    """Makes the backbone of a family."""
    config = f"{changes.pop('config', prefix)}Config"
    name = changes.pop("name", f"{prefix}Model")
    return lambda: getattr(transformers, name)(getattr(transformers, config)(**OF_IMAGES | changes), **options or {})


def two_towers(prefix: str) -> Callable[[], PreTrainedModel]:
    """Makes the image classifier of a family whose configuration is of images and texts."""
    return lambda: getattr(transformers, f"{prefix}ForImageClassification")(
        getattr(transformers, f"{prefix}Config")(
            vision_config=dict(OF_IMAGES), text_config=dict(OF_TEXTS), num_labels=NUM_LABELS
        )
    )


def timm(
    architecture: str, num_labels: int = NUM_LABELS, sizes: Mapping[str, int] | None = None
) -> Callable[[], PreTrainedModel]:
    """Makes a small model of an architecture of timm: a classifier, or without labels a backbone."""
    sizes = OF_TIMM if sizes is None else sizes
    pretrained_cfg = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9}

    def make() -> PreTrainedModel:
        config = transformers.TimmWrapperConfig(
            architecture=architecture, num_labels=num_labels, model_args=sizes, pretrained_cfg=pretrained_cfg
        )
        suffix = "ForImageClassification" if num_labels else "Model"
        return getattr(transformers, f"TimmWrapper{suffix}")(config)

    return make


_NO_POOLER = {"add_pooling_layer": False}
_DINOV2 = {"image_size": 56, "patch_size": 14}

CASES = {
    "vit": FamilyCase("vit", classifier("ViT"), 1),
    "vit-wide": FamilyCase("vit", classifier("ViT", image_size=[32, 64]), 1),
    "vit-interpolated": FamilyCase("vit", classifier("ViT"), 1, (48, 32)),
    "vit-bare": FamilyCase("vit", bare("ViT", _NO_POOLER), 1),
    "deit": FamilyCase("deit", classifier("DeiT"), 2),
    "deit-interpolated": FamilyCase("deit", classifier("DeiT"), 2, (48, 32)),
    "deit-two-heads": FamilyCase("deit", classifier("DeiT", suffix="ForImageClassificationWithTeacher"), 2),
    "vit_msn": FamilyCase("vit_msn", classifier("ViTMSN"), 1),
    "vit_msn-interpolated": FamilyCase("vit_msn", classifier("ViTMSN"), 1, (48, 32)),
    "dinov2": FamilyCase("dinov2", classifier("Dinov2", **_DINOV2), 1),
    "dinov2-interpolated": FamilyCase("dinov2", classifier("Dinov2", **_DINOV2), 1, (28, 70)),
    "dinov2-bare": FamilyCase("dinov2", bare("Dinov2"), 1),
    "dinov2_with_registers": FamilyCase("dinov2_with_registers", classifier("Dinov2WithRegisters", **_DINOV2), 5),
    "dinov2_with_registers-interpolated": FamilyCase(
        "dinov2_with_registers", classifier("Dinov2WithRegisters", **_DINOV2), 5, (28, 70)
    ),
    "dinov3_vit": FamilyCase("dinov3_vit", bare("DINOv3ViT", num_register_tokens=2), 3),
    "dinov3_vit-resized": FamilyCase("dinov3_vit", bare("DINOv3ViT", num_register_tokens=2), 3, (24, 40)),
    "ijepa": FamilyCase("ijepa", classifier("IJepa"), 0),
    "beit": FamilyCase("beit", classifier("Beit", use_relative_position_bias=True), 1),
    "beit-shared-bias-cls": FamilyCase(
        "beit", classifier("Beit", use_shared_relative_position_bias=True, use_mean_pooling=False), 1
    ),
    "beit-absolute": FamilyCase("beit", classifier("Beit", use_absolute_position_embeddings=True), 1),
    "beit-bare": FamilyCase("beit", bare("Beit", _NO_POOLER, use_relative_position_bias=True), 1),
    "data2vec_vision": FamilyCase(
        "data2vec_vision", classifier("Data2VecVision", use_relative_position_bias=True), 1
    ),
    "clip": FamilyCase("clip", two_towers("CLIP"), 1),
    "clip_vision_model": FamilyCase(
        "clip_vision_model", bare("CLIPVision", name="CLIPVisionModelWithProjection", projection_dim=16), 1
    ),
    "clip_vision_model-interpolated": FamilyCase(
        "clip_vision_model", bare("CLIPVision", name="CLIPVisionModelWithProjection", projection_dim=16), 1, (48, 32)
    ),
    "clip_vision_model-bare": FamilyCase("clip_vision_model", bare("CLIPVision"), 1),
    "siglip": FamilyCase("siglip", two_towers("Siglip"), 0),
    "siglip_vision_model": FamilyCase("siglip_vision_model", bare("SiglipVision"), 0),
    "siglip_vision_model-interpolated": FamilyCase("siglip_vision_model", bare("SiglipVision"), 0, (48, 32)),
    "metaclip_2": FamilyCase("metaclip_2", two_towers("MetaClip2"), 1),
}  # fmt: skip
# Loaded as another family.
ALIASES = {"vit_mae": "vit-bare"}
# Those of timm, by architecture; none without timm (`make test-timm`).
TIMM_CASES = {
    "timm-vit": FamilyCase("timm_wrapper", timm("vit_tiny_patch16_224"), 1),
    "timm-deit": FamilyCase("timm_wrapper", timm("deit_tiny_distilled_patch16_224"), 2),
    "timm-registers": FamilyCase("timm_wrapper", timm("vit_base_patch16_reg4_gap_256"), 4),
    "timm-clip": FamilyCase("timm_wrapper", timm("vit_base_patch32_clip_224", num_labels=0), 1),
    "timm-dinov2": FamilyCase("timm_wrapper", timm("vit_small_patch14_reg4_dinov2", num_labels=0), 5),
    "timm-siglip": FamilyCase("timm_wrapper", timm("vit_base_patch16_siglip_224", num_labels=0), 0),
    "timm-eva": FamilyCase("timm_wrapper", timm("eva_giant_patch14_224"), 1),
    "timm-eva02": FamilyCase("timm_wrapper", timm("eva02_tiny_patch14_224"), 1),
    "timm-dinov3": FamilyCase("timm_wrapper", timm("vit_small_patch16_dinov3", num_labels=0), 5),
}
CASES |= TIMM_CASES if package_version("timm") else {}


def case_of(model_type: str) -> FamilyCase:
    """What a plain family is tested with that has no case of its own: its classifier."""
    config_class = CONFIG_MAPPING[model_type]
    classes = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[config_class]
    model_class = classes[0] if isinstance(classes, tuple) else classes
    config = config_class(**OF_IMAGES, num_labels=NUM_LABELS)
    grid = FAMILIES.get(model_type).native_grid(model_class(config))
    model = model_class(config)
    pixels = torch.zeros(1, 3, *grid.image_size)
    embedded = FAMILIES.get(model_type).embed(model, pixels)
    return FamilyCase(model_type, lambda: model_class(config), embedded.shape[1] - grid.num_patches)


CASES |= {
    name: case_of(name)
    for name in FAMILIES.names()
    if name not in {case.family for case in CASES.values()} and name not in (*ALIASES, "timm_wrapper")
}
