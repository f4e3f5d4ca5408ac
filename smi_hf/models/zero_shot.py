"""The zero-shot classifier of CLIP and SigLIP: directions from the text tower, made once.

Legend: `L` labels, `D` size of an embedding.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, PretrainedConfig

from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.models.embeddings import EmbeddingHead, Reading
from smi_hf.models.label_texts import read_label_texts
from smi_hf.models.loading import (
    CheckpointSource,
    connection_errors,
    needs_remote_code,
    read_weights,
    remote_code_refusal,
)
from smi_hf.models.references import ZERO_SHOT

_BATCH_SIZE = 64
# The first of each paper's own. CLIP, arXiv 2103.00020, section 3.1.4; SigLIP, arXiv 2303.15343, as its model card.
_TEMPLATES = {"siglip": "This is a photo of {}."}
_USUAL_TEMPLATE = "a photo of a {}."
# Largest difference between two embeddings of length 1 that is rounding.
_SAME = 1e-6


def zero_shot_head(
    source: CheckpointSource,
    config: PretrainedConfig,
    reading: Reading,
    labels: Sequence[str],
    *,
    prompts: Sequence[str] = (),
    allow_pickle: bool = False,
) -> EmbeddingHead:
    """A head whose directions are the text embeddings of labels, averaged over the texts of each.

    Args:
        source: a checkpoint with an image tower and a text tower.
        config: of that checkpoint.
        reading: how embeddings are read off the image tower.
        labels: names, or one file of names and texts (`smi_hf.models.label_texts`).
        prompts: texts with `{}` for a name; that of the model's paper if there are none.

    Raises:
        UsageError: the checkpoint has no text tower, its tokenizer does not load, or the labels cannot be used.
    """
    if not hasattr(config, "text_config"):
        raise UsageError(
            f"{source.named} has no text tower, which labels are compared by (model type {config.model_type!r}); give "
            f"the whole checkpoint, such as that of a CLIPModel or SiglipModel, or directions instead of labels"
        )
    texts = read_label_texts(labels, prompts or (_TEMPLATES.get(config.model_type, _USUAL_TEMPLATE),))
    tokenizer = _tokenizer(source)
    model = read_weights(source, allow_pickle=allow_pickle, model_class=AutoModel).eval()
    if not hasattr(model, "get_text_features") or not hasattr(model, "logit_scale"):
        raise UsageError(f"{source.named} is a {type(model).__name__}, which compares no texts with images")
    directions_LD = _directions(model, tokenizer, texts, source)
    bias = getattr(model, "logit_bias", None)
    return EmbeddingHead(
        directions_LD,
        list(texts),
        reading,
        kind=ZERO_SHOT,
        scale=float(model.logit_scale.detach().exp()),
        bias=0.0 if bias is None else float(bias.detach()),
        prompts=list(texts.values()),
    )


def _tokenizer(source: CheckpointSource) -> Any:
    try:
        return AutoTokenizer.from_pretrained(source.name_or_path, **source.options)
    except (OSError, *connection_errors(), ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        if needs_remote_code(error):
            raise UsageError(remote_code_refusal(source)) from error
        # transformers names a missing package in several lines.
        advice = " (pip install sentencepiece protobuf)" if "sentencepiece" in str(error).lower() else ""
        raise UsageError(
            f"{source.named} has no tokenizer that loads{advice}, so labels cannot be compared with images; save one "
            f"beside the weights with tokenizer.save_pretrained(...). transformers says: {one_line(error)}"
        ) from error


@torch.no_grad()
def _directions(model: Any, tokenizer: Any, texts: Mapping[str, Sequence[str]], source: CheckpointSource) -> Tensor:
    """The mean of the unit embeddings of each label's texts, (L, D)."""
    length = model.config.text_config.max_position_embeddings
    every = [text for each in texts.values() for text in each]
    found = []
    try:
        for first in range(0, len(every), _BATCH_SIZE):
            # SigLIP was trained on texts that are padded to their full length.
            tokens = tokenizer(
                every[first : first + _BATCH_SIZE],
                padding="max_length", truncation=True, max_length=length, return_tensors="pt",
            )  # fmt: skip
            features = model.get_text_features(**{name: tokens[name] for name in tokens if name != "token_type_ids"})
            # transformers 5 gives the whole output of the text tower.
            found.append(features if isinstance(features, Tensor) else features.pooler_output)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        raise UsageError(
            f"the text tower of {source.named} fails on what its tokenizer makes ({type(error).__name__}: "
            f"{one_line(error)}); the two are of different models"
        ) from error
    unit = F.normalize(torch.cat(found).float(), dim=1)
    parts = unit.split([len(each) for each in texts.values()])
    directions_LD = torch.stack([part.mean(dim=0) for part in parts])
    _check_different(directions_LD, list(texts), source)
    return directions_LD


def _check_different(directions_LD: Tensor, names: Sequence[str], source: CheckpointSource) -> None:
    """Checks that the text tower tells labels apart; where files are missing transformers makes an empty tokenizer."""
    for number, direction_D in enumerate(directions_LD[1:], start=1):
        same = (directions_LD[:number] - direction_D).abs().amax(dim=1) < _SAME
        if same.any():
            first = names[int(same.nonzero()[0])]
            raise UsageError(
                f"the text tower of {source.named} gives the labels {first!r} and {names[number]!r} the same "
                f"embedding, as its tokenizer does not tell them apart; give other words, or if the tokenizer is "
                f"missing, save it beside the weights with tokenizer.save_pretrained(...)"
            )
