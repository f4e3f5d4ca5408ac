"""Image towers and backbones: checkpoints without a classification head, and what makes classifiers of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageClassification, PretrainedConfig, PreTrainedModel

from smi_hf.errors import UsageError
from smi_hf.models.beside import find_beside
from smi_hf.models.classification import is_classifier
from smi_hf.models.directions import ORTHOGONAL, RANDOM, direction_head
from smi_hf.models.embeddings import HEAD_FILE, EmbeddingHead, Reading, as_head
from smi_hf.models.families.base import FAMILIES, ViTFamily
from smi_hf.models.for_a_while import evaluating
from smi_hf.models.loading import CheckpointSource, read_weights
from smi_hf.models.lookup import family_of
from smi_hf.models.preprocessing import image_size_for, normalization_of
from smi_hf.models.sparse import SparseClassifier
from smi_hf.models.zero_shot import zero_shot_head
from smi_hf.patches.randomness import image_generator
from smi_hf.registry import unknown_name
from smi_hf.starts.base import STARTS, OpenStart, StartSpec

_MAX_HEAD_BYTES = 1 << 28
_BATCH_SIZE = 16
DEFAULT_DIRECTIONS_FROM = "scenes"


@dataclass(frozen=True)
class HeadRequest:
    """What is to make a classifier of an image tower or a backbone: a head, labels, or directions.

    Args:
        head: ready, or a file or folder of one.
        labels: names, or one file of names and texts, for a model with a text tower.
        prompts: texts with `{}` for a name; that of the model's paper if there are none.
        directions: how many directions in embedding space.
        directions_from: "random", "orthogonal", or a start whose pictures show where they lie.
        seed: of directions.
    """

    head: EmbeddingHead | str | Path | None = None
    labels: Sequence[str] = ()
    prompts: Sequence[str] = ()
    directions: int | None = None
    directions_from: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.prompts, str):
            object.__setattr__(self, "prompts", (self.prompts,))
        if len(self._ways) > 1:
            raise UsageError(
                f"{' and '.join(self._ways)} are different ways to say what is told apart; give one of them"
            )
        if self.prompts and not self.labels:
            raise UsageError("prompts say how labels are written out, but there are no labels; give both")
        if self.directions_from is not None:
            if self.directions is None:
                raise UsageError("directions_from says where directions come from, but there are none; give both")
            names = direction_kinds()
            if self.directions_from not in names:
                raise unknown_name("kind of directions", self.directions_from, names)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for."""
        return not self._ways

    @property
    def _ways(self) -> list[str]:
        """Names of those that were given, of the three that say what is told apart."""
        given = {"labels": bool(self.labels), "directions": self.directions is not None, "head": self.head is not None}
        return [name for name, is_given in given.items() if is_given]


def direction_kinds() -> list[str]:
    """What directions can come from: random numbers, or starts that need no dataset."""
    return [ORTHOGONAL, RANDOM, *(name for name in STARTS.names() if STARTS.get(name).argument is None)]


def check_bare_served(source: CheckpointSource, config: PretrainedConfig) -> ViTFamily:
    """The family of a checkpoint without a classification head.

    Raises:
        UsageError: none serves it.
    """
    family = family_of(config)
    if family is None:
        raise UsageError(
            f"{source.named} is a {(config.architectures or ['model'])[0]} without a classification head, and model "
            f"type {config.model_type!r} is not served as that; give an image classifier, or a backbone of "
            f"{', '.join(FAMILIES.names())}"
        )
    return family


def load_bare(source: CheckpointSource, config: PretrainedConfig, *, allow_pickle: bool = False) -> PreTrainedModel:
    """An image tower or backbone in float32 and evaluation mode; of a model with a text tower the image tower alone.

    Raises:
        UsageError: no family serves it; or as `read_weights`.
    """
    model_class, options = check_bare_served(source, config).bare_class(config)
    model = read_weights(source, allow_pickle=allow_pickle, model_class=model_class, options=options).eval()
    # The configuration of a part of a model does not say which; what is exported with it has to.
    model.config.architectures = [type(model).__name__]
    return model


def loading_class(config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
    """The class that loads a checkpoint, a classifier or a bare model, and keyword arguments for it.

    Raises:
        UsageError: it has no classification head, and no family serves it.
    """
    if is_classifier(config):
        return AutoModelForImageClassification, {}
    family = family_of(config)
    if family is None:
        raise UsageError(f"model type {config.model_type!r} is not served without a classification head")
    return family.bare_class(config)


def model_from_config(config: PretrainedConfig) -> PreTrainedModel:
    """A model of a configuration, a classifier or a bare one, with random weights."""
    model_class, options = loading_class(config)
    config = options.pop("config", config)
    if hasattr(model_class, "from_config"):
        model = model_class.from_config(config, dtype=torch.float32, trust_remote_code=False, **options)
    else:
        model = model_class(config, **options)
    model.config.architectures = [type(model).__name__]
    return model


def make_head(
    request: HeadRequest,
    source: CheckpointSource,
    config: PretrainedConfig,
    model: PreTrainedModel,
    image_processor: Any,
    *,
    image_size: int | Sequence[int] | None = None,
    allow_pickle: bool = False,
) -> EmbeddingHead:
    """What makes a classifier of a bare model: as asked, or what lies beside the checkpoint.

    Args:
        config: of the checkpoint; of a model with a text tower that of the whole.
        model: what `load_bare` returned.
        image_size: as of `Teacher.from_model`.

    Raises:
        UsageError: nothing was asked for and nothing lies there, or it cannot be made, or does not fit the model.
    """
    sparse = SparseClassifier(model, image_size_for(image_processor, model, image_size)).freeze()
    reading, size = embedding_of(sparse)
    if request.labels:
        head = zero_shot_head(
            source, config, reading, request.labels, prompts=request.prompts, allow_pickle=allow_pickle
        )
    elif request.directions is not None:
        kind = request.directions_from or DEFAULT_DIRECTIONS_FROM

        def embed(count: int) -> Tensor:
            start = OpenStart(StartSpec(kind), sparse.grid.image_size, normalization_of(image_processor, model.config))
            pictures = [start.draw(image_generator(request.seed, number), number) for number in range(count)]
            return torch.cat([
                _embed(sparse, reading, torch.stack(pictures[first : first + _BATCH_SIZE]))
                for first in range(0, count, _BATCH_SIZE)
            ])  # fmt: skip

        head = direction_head(size, reading, request.directions, kind=kind, seed=request.seed, embed=embed)
    else:
        head = _given_head(request, source, config)
    if head.size != size or head.reading != reading:
        raise UsageError(
            f"the embedding head is for embeddings of {head.size} numbers ({head.reading.output}), but {source.named} "
            f"gives {size} ({reading.output}); make a head for this model, with labels or directions"
        )
    return head


def embedding_of(sparse: SparseClassifier) -> tuple[Reading, int]:
    """How the embedding of an image is read off a bare model, and how many numbers it has."""
    model = sparse.model
    reading = sparse.family.reading(model, sparse.num_prefix_tokens)
    black_BCHW = torch.zeros(1, sparse.num_channels, *sparse.grid.image_size, device=model.device, dtype=model.dtype)
    with evaluating(model):
        return reading, _embed(sparse, reading, black_BCHW).shape[1]


def check_head_asked(request: HeadRequest, source: CheckpointSource, config: PretrainedConfig) -> None:
    """Checks, before weights are fetched, that there is something to make a classifier of a bare model.

    Raises:
        UsageError: there is not.
    """
    if request.is_empty and _beside(source, config) is None:
        has_texts = hasattr(config, "text_config")
        raise UsageError(
            f"{source.named} has no classification head, so say what is to be told apart: "
            + ("labels, names that its text tower reads, or " if has_texts else "")
            + "directions, how many targets in its embedding space (64, for instance)"
            + ("" if has_texts else "; it has no text tower, so labels cannot be compared with images")
        )


def refuse_head(request: HeadRequest, source: CheckpointSource) -> None:
    """Checks that nothing was asked for of a classifier, which has labels of its own.

    Raises:
        UsageError: something was.
    """
    if not request.is_empty:
        raise UsageError(
            f"{source.named} is an image classifier with labels of its own, so labels and directions are not for it; "
            f"leave them out"
        )


def _given_head(request: HeadRequest, source: CheckpointSource, config: PretrainedConfig) -> EmbeddingHead:
    head = request.head if request.head is not None else _beside(source, config)
    assert head is not None, "check_head_asked comes first"
    return as_head(head)


def _beside(source: CheckpointSource, config: PretrainedConfig) -> Path | None:
    """The head that lies beside a checkpoint."""
    commit = getattr(config, "_commit_hash", None)
    return find_beside(source.name_or_path, HEAD_FILE, revision=commit, max_bytes=_MAX_HEAD_BYTES)


@torch.no_grad()
def _embed(sparse: SparseClassifier, reading: Reading, pixels_BCHW: Tensor) -> Tensor:
    output = sparse.model(pixel_values=pixels_BCHW, **sparse.stock_arguments)
    return reading(getattr(output, reading.output))
