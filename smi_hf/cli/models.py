"""Options that more than one command has: which model, and which images judge it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from smi_hf import progress
from smi_hf.errors import UsageError
from smi_hf.images.controls.base import CONTROLS

if TYPE_CHECKING:
    from smi_hf.evaluation.predictors import Predictor
    from smi_hf.images.real import ImageSet
    from smi_hf.models import EmbeddingHead, Teacher


@dataclass(kw_only=True)
class HeadArguments:
    """What an image tower or a backbone, which has no labels of its own, is to tell apart."""

    labels: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Of a model with a text tower (CLIP, SigLIP): names that it is to tell apart, or one file with a "
            "name, or a name, a tab and a text, a line."
        },
    )
    prompts: list[str] = field(
        default_factory=list,
        metadata={"help": "Texts with {} for a name, averaged. Default: the one that the model was trained with."},
    )
    directions: int | None = field(
        default=None,
        metadata={
            "help": "Of a backbone (DINOv2, DINOv3, ViT-MAE), or of an image tower without texts: how many directions "
            "of its embeddings it is to tell apart, such as 64."
        },
    )
    directions_from: str | None = field(
        default=None,
        metadata={
            "help": "Where these lie: orthogonal, random, or where the pictures of a start do. Default: scenes."
        },
    )

    @property
    def asks_for_head(self) -> bool:
        """Whether anything was given."""
        return bool(self.labels) or self.directions is not None

    def head_options(self) -> dict[str, Any]:
        """As keyword arguments of `load_teacher`."""
        return {
            "labels": self.labels,
            "prompts": self.prompts,
            "directions": self.directions,
            "directions_from": self.directions_from,
        }


@dataclass(kw_only=True)
class ModelArguments(HeadArguments):
    """Which checkpoint."""

    model_name_or_path: str = field(
        metadata={
            "help": "Image classifier, or an image tower or backbone with labels or directions: a Hub id, or a folder "
            "of save_pretrained."
        }
    )
    revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the checkpoint on the Hub."}
    )
    image_size: list[int] | None = field(
        default=None,
        metadata={
            "help": "Side, or height and width, of the images in pixels; other than the model's own, its positions "
            "are interpolated. Default: what the image processor makes."
        },
    )
    allow_pickle: bool = field(
        default=False,
        metadata={"help": "Load weights from a pickle if there are no safetensors. A pickle can run any code."},
    )

    def load_teacher(self, datasets: Sequence[str] = (), *, head: "EmbeddingHead | None" = None) -> "Teacher":
        """The model in floating point; errors as of `smi_hf.load_teacher`.

        Args:
            datasets: sparse datasets of it, by name. The first says what a tower or backbone tells apart, if nothing
                else does.
            head: goes before all that was asked for.
        """
        with progress.bar(f"Loading {self.model_name_or_path}"):
            # Torch is most of what is to be waited for.
            from smi_hf.models import load_teacher
            from smi_hf.quantization.loading import check_not_quantized

            check_not_quantized(self.model_name_or_path)
            return load_teacher(
                self.model_name_or_path,
                revision=self.revision,
                image_size=self.image_size,
                allow_pickle=self.allow_pickle,
                **({"head": head} if head else {**self.head_options(), "head": self._head_of(datasets)}),
            )

    def load_predictors(self, reference: str | None) -> "tuple[Predictor, Predictor | None]":
        """The model, quantized or not, and what it is compared with. Embeddings of both are read with one head.

        Args:
            reference: name of the other.
        """
        if reference is None:
            return self._load_predictor(), None
        other = replace(self, model_name_or_path=reference, revision=None)
        if not self.asks_for_head:
            predictor = self._load_predictor()
            return predictor, other._load_predictor(predictor.head)
        # A quantized image tower has no text tower to make a head with, and what it was made from has.
        compared = other._load_predictor()
        return replace(self, labels=[], prompts=[], directions=None, directions_from=None)._load_predictor(
            compared.head
        ), compared

    def _load_predictor(self, head: "EmbeddingHead | None" = None) -> "Predictor":
        from smi_hf.evaluation.predictors import predictor_of
        from smi_hf.quantization.loading import load_predictor

        # Positions are interpolated by the sparse forward alone, which plain Vision Transformers have.
        if self.image_size is not None:
            return predictor_of(self.load_teacher(head=None if self._is_classifier else head))
        name = self.model_name_or_path
        options = self.head_options() if head is None or self._is_classifier else {"head": head}
        with progress.bar(f"Loading {name}"):
            return load_predictor(name, revision=self.revision, allow_pickle=self.allow_pickle, **options)

    def _head_of(self, datasets: Sequence[str]) -> "EmbeddingHead | None":
        """That of the first dataset, for a tower or backbone, if nothing was asked for."""
        from smi_hf.data import dataset_head
        from smi_hf.data.schema import RECORD_FILE
        from smi_hf.models.references import is_local

        if not datasets or self.asks_for_head:
            return None
        if is_local(datasets[0]) and not os.path.isfile(os.path.join(datasets[0], RECORD_FILE)):
            # What is to be made, or is none, which whoever loads it says.
            return None
        return None if self._is_classifier else dataset_head(datasets[0])

    @property
    def _is_classifier(self) -> bool:
        """Whether it has labels of its own."""
        from smi_hf.models.classification import is_classifier
        from smi_hf.models.loading import find_checkpoint, read_config

        return is_classifier(read_config(find_checkpoint(self.model_name_or_path, revision=self.revision)))


@dataclass
class ImagesArguments:
    """Which synthetic images a smaller model is made on, and what they are compared with."""

    dataset: list[str] = field(
        metadata={
            "help": "Sparse dataset of the whole model, the teacher: a folder, or a dataset on the Hub. More, "
            "inverted with other seeds, are further runs of the table's row; the first makes what is written."
        }
    )
    controls: list[str] = field(
        default_factory=list,
        metadata={"help": f"Rows to compare with: {', '.join(CONTROLS.names())}. Need --eval_dataset."},
    )


@dataclass
class JudgeArguments:
    """Which real images judge a model."""

    eval_dataset: str | None = field(
        default=None,
        metadata={
            "help": "Real images to judge on, labeled where the model has labels: Hub id, folder or parquet file."
        },
    )
    eval_split: str | None = field(default=None, metadata={"help": "Split of eval_dataset."})
    max_images: int | None = field(default=None, metadata={"help": "Judge on that many images. Default: all."})

    def __post_init__(self) -> None:
        if self.max_images is not None and self.max_images < 1:
            raise UsageError(f"max_images must be at least 1, but {self.max_images} was given")
        for option in ("eval_split", "max_images"):
            if getattr(self, option) is not None and self.eval_dataset is None:
                raise UsageError(f"{option} says which images of eval_dataset, which was not given; give both")

    def load_images(self, teacher: "Teacher") -> "ImageSet | None":
        """The images with the teacher's labels, None where none were asked for."""
        from smi_hf.images.real import load_image_set

        if self.eval_dataset is None:
            return None
        return load_image_set(
            self.eval_dataset, teacher.judged_labels, split=self.eval_split, max_images=self.max_images
        )
