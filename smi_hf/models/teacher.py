"""The teacher: a checkpoint that is ready to be inverted, with the image processor that belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from smi_hf.models.classifier import load_classifier, weights_sha256
from smi_hf.models.families.base import find_family
from smi_hf.models.licenses import read_license
from smi_hf.models.loading import check_head, label_names_of
from smi_hf.models.preprocessing import image_size_for, normalization_of, with_image_size
from smi_hf.models.references import CheckpointReference, License, recorded_name
from smi_hf.models.sparse import SparseClassifier
from smi_hf.patches import Normalization


@dataclass(frozen=True)
class Teacher:
    """A checkpoint that is ready to be inverted.

    Args:
        model: frozen, in evaluation mode, its sparse forward verified.
        image_processor: the checkpoint's own, in the variant that needs no torchvision; it makes images of the
            model's size, also where another size than the checkpoint's was asked for.
        normalization: what its image processor does to pixels in [0, 1].
        name: Hub id, or the folder's name for a local checkpoint (never a path of this machine).
        revision: commit on the Hub, None for a local checkpoint.
        license: None if it is unknown.
        source: Hub id or path that it was loaded from, beside which a record may lie; None if it is not known.
            Records hold the name alone.
    """

    model: SparseClassifier
    image_processor: Any
    normalization: Normalization
    name: str
    revision: str | None = None
    license: License | None = None
    source: str | None = field(default=None, repr=False)

    @property
    def label_names(self) -> list[str]:
        """Name of each label, by label."""
        return label_names_of(self.model.config)

    @classmethod
    def from_model(
        cls,
        model: PreTrainedModel | SparseClassifier,
        image_processor: Any,
        *,
        name: str | None = None,
        revision: str | None = None,
        image_size: int | Sequence[int] | None = None,
    ) -> "Teacher":
        """Checks a loaded classifier and its image processor, and freezes the classifier.

        Args:
            model: a Hugging Face image classifier; its weights stop requiring gradients.
            image_processor: tells size and normalization.
            image_size: side, or (height, width), in pixels; the image processor's if None.

        Raises:
            UsageError: family, head, size or normalization cannot be served.
        """
        model = model.model if isinstance(model, SparseClassifier) else model
        find_family(model.config)
        check_head(model)
        label_names_of(model.config)
        normalization = normalization_of(image_processor, model.config)
        sparse = SparseClassifier(model, image_size_for(image_processor, model.config, image_size)).freeze()
        sparse.verify()
        image_processor = with_image_size(image_processor, sparse.grid.image_size)
        source = name or model.config._name_or_path or None
        name = source or model.config.model_type
        revision = revision or getattr(model.config, "_commit_hash", None)
        return cls(
            model=sparse,
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
        )

    def weights_sha256(self) -> str:
        """A digest of all weights and their places: checkpoints with one digest give the same images."""
        return weights_sha256(self.model.model)


def load_teacher(
    model_name_or_path: str,
    *,
    revision: str | None = None,
    image_size: int | Sequence[int] | None = None,
    allow_pickle: bool = False,
) -> Teacher:
    """Loads a classifier and its image processor from the Hub or from a folder.

    Args:
        model_name_or_path: Hub id or path.
        revision: branch, tag or commit on the Hub.
        image_size: as for `Teacher.from_model`.
        allow_pickle: whether to load weights from a pickle, which can run any code, if there are no safetensors.

    Raises:
        UsageError: not found, no network, unsupported family, broken or headless checkpoint, pickle-only weights, or
            an image processor that does not fit.
    """
    loaded = load_classifier(
        model_name_or_path, revision=revision, allow_pickle=allow_pickle, check_config=find_family
    )
    return Teacher.from_model(
        loaded.model,
        loaded.image_processor,
        name=model_name_or_path,
        revision=loaded.revision,
        image_size=image_size,
    )
