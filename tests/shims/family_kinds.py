"""The rows of the table of families: kinds of models that people have, each as a tiny checkpoint on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from dense_cases import DENSE_CASES, IMAGE_SIZE
from family_cases import CASES, OF_IMAGES, OF_TEXTS, TIMM_CASES
from family_cases import timm as of_timm
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel

from smi_hf.environment import package_version
from smi_hf.models import Teacher, load_teacher

LABELS = ("cat", "dog", "bird", "fish")
NUM_DIRECTIONS = 5


@dataclass(frozen=True)
class Kind:
    """A kind of models.

    Args:
        title: as the table has it.
        group: of rows.
        make: the stock model, with random weights.
        image_size: side of its images in pixels.
        asks: what `load_teacher` is asked for: "labels" of a text tower, "directions" of a backbone, or nothing.
        processor: class of its image processor.
        std: of the random weights; those of a new model if None.
        too_slow: columns that take minutes even of a tiny one, so that they are not tried at every change.
    """

    title: str
    group: str
    make: Callable[[], PreTrainedModel]
    image_size: int = 32
    asks: str = ""
    processor: str = "ViTImageProcessor"
    std: float | None = 0.15
    too_slow: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Writes its checkpoint, as stock transformers does."""
        torch.manual_seed(0)
        model = self.make()
        for weight in model.parameters():
            if weight.ndim > 1 and self.std is not None:
                # Large enough for the answer to depend on the image.
                torch.nn.init.normal_(weight, std=self.std)
        _normalize(model, self.image_size)
        model.save_pretrained(folder)
        size = {"height": self.image_size, "width": self.image_size}
        if self.group != "timm":
            options = {"size": size} if self.processor == "ViTImageProcessor" else {"size": size, "crop_size": size}
            getattr(transformers, self.processor)(**options).save_pretrained(folder)
        if self.asks == "labels":
            _tokenizer().save_pretrained(folder)

    def load(self, folder: Path) -> Teacher:
        """Its teacher."""
        options = {"labels": {"labels": LABELS}, "directions": {"directions": NUM_DIRECTIONS}}.get(self.asks, {})
        return load_teacher(str(folder), **options)


@torch.no_grad()
def _normalize(model: PreTrainedModel, image_size: int) -> None:
    """Gives batch normalizations the statistics of random images; without them little of an image gets through."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if not norms:
        return
    before = [module.momentum for module in norms]
    for module in norms:
        module.momentum = 1.0
    model.train()(torch.randn(8, 3, image_size, image_size))
    for module, momentum in zip(norms, before):
        module.momentum = momentum
    model.eval()


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = ("<pad>", "<start>", "<end>", "<unknown>", "a", "photo", "of", "This", "is", ".", *LABELS)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>", model_max_length=12
    )


def _two_towers(prefix: str) -> Callable[[], PreTrainedModel]:
    texts = {**OF_TEXTS, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if prefix == "Siglip":
        texts["projection_size"] = OF_IMAGES["hidden_size"]
    shared = {} if prefix == "Siglip" else {"projection_dim": 16}
    return lambda: getattr(transformers, f"{prefix}Model")(
        getattr(transformers, f"{prefix}Config")(vision_config=dict(OF_IMAGES), text_config=texts, **shared)
    )


def _classifiers() -> dict[str, Kind]:
    titles = {
        "vit": "ViT",
        "deit": "DeiT",
        "deit-two-heads": "DeiT with two heads",
        "vit_msn": "ViT-MSN",
        "dinov2": "DINOv2",
        "dinov2_with_registers": "DINOv2 with registers",
        "ijepa": "I-JEPA",
        "beit": "BEiT",
        "data2vec_vision": "data2vec-vision",
        "clip": "CLIP with a classification head",
        "siglip": "SigLIP with a classification head",
        "metaclip_2": "MetaCLIP 2 with a classification head",
    }
    sizes = {"dinov2": 56, "dinov2_with_registers": 56}
    return {name: Kind(title, "classifiers", CASES[name].make, sizes.get(name, 32)) for name, title in titles.items()}


def _towers() -> dict[str, Kind]:
    titles = {"CLIP": "CLIP", "Siglip": "SigLIP, SigLIP 2", "MetaClip2": "MetaCLIP 2"}
    return {
        f"{prefix.lower()}-tower": Kind(title, "image towers", _two_towers(prefix), asks="labels")
        for prefix, title in titles.items()
    }


def _backbones() -> dict[str, Kind]:
    titles = {
        "vit-bare": "ViT",
        "dinov2-bare": "DINOv2",
        "dinov3_vit": "DINOv3",
        "beit-bare": "BEiT",
        "clip_vision_model": "CLIP's tower without texts",
        "siglip_vision_model": "SigLIP's tower without texts",
    }
    found = {name: Kind(title, "backbones", CASES[name].make, asks="directions") for name, title in titles.items()}
    mae = transformers.ViTMAEConfig(
        **OF_IMAGES,
        decoder_hidden_size=24,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=3,
        decoder_intermediate_size=48,
    )
    return found | {
        "vit_mae": Kind("ViT-MAE", "backbones", lambda: transformers.ViTMAEForPreTraining(mae), asks="directions")
    }


def _of_timm() -> dict[str, Kind]:
    titles = {
        "timm-vit": "ViT, AugReg, DeiT",
        "timm-deit": "DeiT, distilled",
        "timm-registers": "ViT with registers and pooled patches",
        "timm-clip": "CLIP's tower",
        "timm-dinov2": "DINOv2",
        "timm-siglip": "SigLIP's tower",
        "timm-eva": "EVA",
        "timm-eva02": "EVA-02",
        "timm-dinov3": "DINOv3",
    }
    bare = {"timm-clip", "timm-dinov2", "timm-siglip", "timm-dinov3"}
    found = {
        name: Kind(title, "timm", TIMM_CASES[name].make, asks="directions" if name in bare else "")
        for name, title in titles.items()
    }
    other = Kind("ResNet, as any other classifier", "timm", of_timm("resnet10t", sizes={}), std=None)
    return found | {"timm-resnet": other}


def _whole_images() -> dict[str, Kind]:
    titles = {
        "swin": "Swin",
        "swinv2": "Swin v2",
        "convnext": "ConvNeXt",
        "convnextv2": "ConvNeXt v2",
        "resnet": "ResNet",
        "mobilevit": "MobileViT",
        "levit": "LeViT",
        "segformer": "SegFormer's encoder",
        "poolformer": "PoolFormer",
    }
    more = {"mobilevit": {"processor": "MobileViTImageProcessor", "too_slow": ("executorch",)}}
    return {
        name: Kind(title, "whole images", DENSE_CASES[name], IMAGE_SIZE, **more.get(name, {}))
        for name, title in titles.items()
    }


# By name, in the order of the table.
KINDS: dict[str, Kind] = {**_classifiers(), **_towers(), **_backbones(), **_of_timm(), **_whole_images()}


def here() -> Sequence[str]:
    """Those that can be made: of timm, or without timm the others."""
    has_timm = package_version("timm") is not None
    return [name for name, kind in KINDS.items() if (kind.group == "timm") == has_timm]
