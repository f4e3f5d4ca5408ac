"""The teacher: a checkpoint that is ready to be inverted, with the image processor that belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from smi_hf.errors import UsageError
from smi_hf.models.bare import HeadRequest, check_bare_served, check_head_asked, load_bare, make_head, refuse_head
from smi_hf.models.classification import check_head, is_classifier, is_headless, label_names_of
from smi_hf.models.classifier import weights_sha256
from smi_hf.models.dense import DenseClassifier
from smi_hf.models.embeddings import EmbeddingHead
from smi_hf.models.licenses import read_license
from smi_hf.models.loading import check_in_floating_point, find_checkpoint, read_config, read_weights
from smi_hf.models.lookup import why_dense
from smi_hf.models.preprocessing import image_size_for, normalization_of, read_image_processor, with_image_size
from smi_hf.models.references import CheckpointReference, License, recorded_name
from smi_hf.models.sparse import SparseClassifier
from smi_hf.models.vision import VisionClassifier
from smi_hf.patches import Normalization


@dataclass(frozen=True)
class Teacher:
    """A checkpoint that is ready to be inverted.

    Args:
        model: frozen, in evaluation mode, its forward verified. A `SparseClassifier`, or a `DenseClassifier` where
            single patches cannot be shown.
        image_processor: the checkpoint's own, in the variant that needs no torchvision; it makes images of the
            model's size, also where another size than the checkpoint's was asked for.
        normalization: what its image processor does to pixels in [0, 1].
        name: Hub id, or the folder's name for a local checkpoint (never a path of this machine).
        revision: commit on the Hub, None for a local checkpoint.
        license: None if it is unknown.
        source: Hub id or path that it was loaded from, beside which a record may lie; None if it is not known.
            Records hold the name alone.
    """

    model: VisionClassifier
    image_processor: Any
    normalization: Normalization
    name: str
    revision: str | None = None
    license: License | None = None
    source: str | None = field(default=None, repr=False)

    @property
    def label_names(self) -> list[str]:
        """Name of each label, by label."""
        return self.model.label_names

    @property
    def judged_labels(self) -> list[str] | None:
        """The labels that those of real images are matched with; None where labels mean nothing to people."""
        return self.label_names if self.head is None or self.head.has_labels else None

    @property
    def head(self) -> EmbeddingHead | None:
        """What makes a classifier of an image tower or a backbone; None of a classifier."""
        return self.model.head

    @classmethod
    def from_model(
        cls,
        model: PreTrainedModel | VisionClassifier,
        image_processor: Any,
        *,
        name: str | None = None,
        revision: str | None = None,
        image_size: int | Sequence[int] | None = None,
        head: EmbeddingHead | None = None,
    ) -> "Teacher":
        """Checks a loaded model and its image processor, and freezes the model.

        Args:
            model: a Hugging Face image classifier; with `head`, an image tower or a backbone of a registered family.
                Its weights stop requiring gradients.
            image_processor: tells size and normalization.
            image_size: side, or (height, width), in pixels; the image processor's if None.
            head: what makes a classifier of it; that of a given `VisionClassifier` if None.

        Raises:
            UsageError: family, head, size or normalization cannot be served.
        """
        if isinstance(model, VisionClassifier):
            model, head = model.model, head or model.head
        if head is None:
            check_head(model)
            label_names_of(model.config)
        elif not is_headless(model):
            raise UsageError(
                f"{type(model).__name__} has a classification head, so labels and directions are not for it; leave "
                f"them out"
            )
        normalization = normalization_of(image_processor, model.config)
        vision = wrap(model, image_size_for(image_processor, model, image_size), head).freeze()
        vision.verify()
        image_processor = with_image_size(image_processor, vision.grid.image_size)
        source = name or model.config._name_or_path or None
        name = source or model.config.model_type
        revision = revision or getattr(model.config, "_commit_hash", None)
        return cls(
            model=vision,
            image_processor=image_processor,
            normalization=normalization,
            name=recorded_name(name),
            revision=revision,
            license=read_license(name, revision=revision),
            source=source,
        )

    def reference(self) -> CheckpointReference:
        """What a record says of it."""
        return CheckpointReference(
            name=self.name,
            revision=self.revision,
            model_type=self.model.config.model_type,
            weights_sha256=self.weights_sha256(),
            license=self.license,
            head=None if self.head is None else self.head.reference(self.model.model),
        )

    def weights_sha256(self) -> str:
        """A digest of all weights and their places: checkpoints with one digest give the same images."""
        return weights_sha256(self.model.model)


def wrap(model: PreTrainedModel, image_size: tuple[int, int], head: EmbeddingHead | None = None) -> VisionClassifier:
    """A model as engines ask it: sparse where single patches can be shown to it.

    Raises:
        UsageError: it has no head, and single patches cannot be shown to it; or as of `SparseClassifier`.
    """
    if (reason := why_dense(model)) is None:
        return SparseClassifier(model, image_size, head)
    if head is not None:
        raise UsageError(
            f"a {model.config.model_type!r} model without a classification head cannot be used: {reason}; give a "
            f"classifier, or a backbone of another family"
        )
    return DenseClassifier(model, image_size)


def load_teacher(
    model_name_or_path: str,
    *,
    revision: str | None = None,
    image_size: int | Sequence[int] | None = None,
    allow_pickle: bool = False,
    head: EmbeddingHead | str | Path | None = None,
    labels: Sequence[str] = (),
    prompts: Sequence[str] = (),
    directions: int | None = None,
    directions_from: str | None = None,
) -> Teacher:
    """Loads a model and its image processor from the Hub or from a folder.

    An image classifier tells its own labels apart. Of an image tower (CLIP, SigLIP) or a backbone (DINOv2, DINOv3,
    ViT-MAE, ...) say what is to be told apart: `labels`, which its text tower reads, or `directions`, so many targets
    in its embedding space. `head` takes over what another run used; what lies beside a checkpoint is found.

    Args:
        model_name_or_path: Hub id or path.
        revision: branch, tag or commit on the Hub.
        image_size: as for `Teacher.from_model`.
        allow_pickle: whether to load weights from a pickle, which can run any code, if there are no safetensors.
        head: an embedding head, its file, or a folder that has one (of a dataset, or of a compressed model).
        labels: names, or one file with a name, or a name and a text, a line.
        prompts: texts with `{}` for a name, which are averaged; "a photo of a {}." or what the model was trained on.
        directions: how many directions.
        directions_from: "orthogonal", "random", or a start ("scenes"), whose pictures show where directions lie.

    Raises:
        UsageError: not found, no network, a family that is not served, a broken checkpoint, pickle-only weights, an
            image processor that does not fit, or nothing that could be told apart.
    """
    request = HeadRequest(head, labels, prompts, directions, directions_from)
    return load_asked(model_name_or_path, request, revision=revision, image_size=image_size, allow_pickle=allow_pickle)


def load_asked(
    model_name_or_path: str,
    request: HeadRequest,
    *,
    revision: str | None = None,
    image_size: int | Sequence[int] | None = None,
    allow_pickle: bool = False,
) -> Teacher:
    """As `load_teacher`, of which the request is what makes a classifier of a tower or a backbone."""
    source = find_checkpoint(model_name_or_path, revision=revision)
    config = read_config(source)
    check_in_floating_point(source, config)
    if is_classifier(config):
        refuse_head(request, source)
        image_processor = read_image_processor(source)
        model, made = read_weights(source, allow_pickle=allow_pickle).eval(), None
    else:
        check_bare_served(source, config)
        check_head_asked(request, source, config)
        image_processor = read_image_processor(source)
        model = load_bare(source, config, allow_pickle=allow_pickle)
        made = make_head(
            request, source, config, model, image_processor, image_size=image_size, allow_pickle=allow_pickle
        )
    return Teacher.from_model(
        model,
        image_processor,
        name=model_name_or_path,
        revision=getattr(config, "_commit_hash", None),
        image_size=image_size,
        head=made,
    )
