"""A tiny classifier of each kind that is shown whole images, from configurations alone, with random weights."""

from collections.abc import Callable, Mapping
from typing import Any

import transformers
from transformers import PreTrainedModel

NUM_LABELS = 5
IMAGE_SIZE = 64
_FOUR = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
_SWIN = {"image_size": 64, "embed_dim": 12, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "patch_size": 4}


def classifier(prefix: str, changes: Mapping[str, Any]) -> Callable[[], PreTrainedModel]:
    """Makes the classifier of a family by the prefix of its classes: "ResNet"."""
    return lambda: getattr(transformers, f"{prefix}ForImageClassification")(
        getattr(transformers, f"{prefix}Config")(**changes, num_labels=NUM_LABELS)
    )


_MOBILEVIT = {
    "image_size": 64,
    "hidden_sizes": [8, 12, 16],
    "neck_hidden_sizes": [8, 8, 16, 16, 16, 16, 32],
}
_LEVIT = {
    "image_size": 64,
    "hidden_sizes": [16, 24, 32],
    "depths": [1, 1, 1],
    "num_attention_heads": [2, 2, 2],
    "key_dim": [8, 8, 8],
}
DENSE_CASES: dict[str, Callable[[], PreTrainedModel]] = {
    "swin": classifier("Swin", _SWIN),
    "swinv2": classifier("Swinv2", _SWIN),
    "convnext": classifier("ConvNext", _FOUR),
    "convnextv2": classifier("ConvNextV2", _FOUR),
    "resnet": classifier(
        "ResNet", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    ),
    "mobilevit": classifier("MobileViT", _MOBILEVIT),
    "levit": classifier("Levit", _LEVIT),
    "segformer": classifier("Segformer", {"num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16, **_FOUR}),
    "poolformer": classifier("PoolFormer", _FOUR),
}
