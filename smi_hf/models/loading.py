"""Loading a teacher: every reason why a checkpoint cannot be inverted is found here, before any compute."""

import hashlib
import json
import logging
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from smi_hf.errors import UsageError
from smi_hf.models.families.base import find_family
from smi_hf.models.licenses import read_license
from smi_hf.models.preprocessing import image_size_for, load_image_processor, normalization_of
from smi_hf.models.sparse import SparseClassifier
from smi_hf.patches import Normalization

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Teacher:
    """A checkpoint that is ready to be inverted.

    Args:
        model: frozen, in evaluation mode, its sparse forward verified.
        normalization: what its image processor does to pixels in [0, 1].
        name: Hub id, or the folder's name for a local checkpoint (never a path of this machine).
        revision: commit on the Hub, None for a local checkpoint.
        license: as of `read_license`, None if it is unknown.
    """

    model: SparseClassifier
    normalization: Normalization
    name: str
    revision: str | None = None
    license: dict[str, Any] | None = None

    @property
    def label_names(self) -> list[str]:
        """Name of each label, by label."""
        config = self.model.config
        return [str(config.id2label[index]) for index in range(config.num_labels)]

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
            image_processor: tells size and normalisation.
            image_size: side, or (height, width), in pixels; the image processor's if None.

        Raises:
            UsageError: family, head, size or normalisation cannot be served.
        """
        model = model.model if isinstance(model, SparseClassifier) else model
        find_family(model.config)
        _check_head(model)
        normalization = normalization_of(image_processor, model.config)
        sparse = SparseClassifier(model, image_size_for(image_processor, model.config, image_size)).freeze()
        sparse.verify()
        name = name or model.config._name_or_path or model.config.model_type
        is_local = Path(name).exists() or _looks_like_path(name)
        revision = revision or getattr(model.config, "_commit_hash", None)
        return cls(
            model=sparse,
            normalization=normalization,
            name=Path(name).resolve().name if is_local else name,
            revision=revision,
            license=read_license(name, revision=revision),
        )

    def reference(self) -> dict[str, Any]:
        """What a record says of it: `name`, `revision`, `model_type`, `weights_sha256` and `license`."""
        return {
            "name": self.name,
            "revision": self.revision,
            "model_type": self.model.config.model_type,
            "weights_sha256": self.weights_sha256(),
            "license": self.license,
        }

    def weights_sha256(self) -> str:
        """A digest of all weights and their names: two checkpoints with one digest give the same images."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()


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
    named = f"model {model_name_or_path!r}" + (f" at revision {revision!r}" if revision else "")
    config = load_config(model_name_or_path, revision=revision)
    find_family(config)
    if quantized := getattr(config, "quantization_config", None):
        method = dict(quantized).get("quant_method", "unknown") if isinstance(quantized, dict) else quantized
        raise UsageError(
            f"{named} is quantized already (quantization_config, method {method}); give the checkpoint in floating "
            f"point that it was made from"
        )
    try:
        image_processor = load_image_processor(model_name_or_path, revision=revision)
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise UsageError(
            f"{named} has no image processor that loads (preprocessor_config.json), so its image size and "
            f"normalisation are unknown; save one beside the weights with image_processor.save_pretrained(...). "
            f"transformers says: {_first_line(error)}"
        ) from error
    model = _load_weights(named, model_name_or_path, revision, allow_pickle)
    return Teacher.from_model(
        model,
        image_processor,
        name=model_name_or_path,
        revision=getattr(config, "_commit_hash", None),
        image_size=image_size,
    )


def load_config(model_name_or_path: str, *, revision: str | None = None) -> PretrainedConfig:
    """A checkpoint's configuration.

    Raises:
        UsageError: not found, no network, or not valid.
    """
    named = f"model {model_name_or_path!r}" + (f" at revision {revision!r}" if revision else "")
    if Path(model_name_or_path).is_file():
        raise UsageError(f"there is no folder {model_name_or_path!r}: it is a file; give the folder that it is in")
    try:
        return AutoConfig.from_pretrained(model_name_or_path, revision=revision)
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise UsageError(_why_not_loaded(named, model_name_or_path, error)) from error


def _load_weights(named: str, model_name_or_path: str, revision: str | None, allow_pickle: bool) -> PreTrainedModel:
    def load(**options: Any) -> PreTrainedModel:
        model, report = AutoModelForImageClassification.from_pretrained(
            model_name_or_path, revision=revision, output_loading_info=True, dtype=torch.float32, **options
        )
        if missing := sorted(report["missing_keys"]):
            raise UsageError(
                f"{named} has no weights for {', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}; without a "
                f"trained classification head there is nothing to invert, so give an image classifier"
            )
        return model

    try:
        return load(use_safetensors=True)
    except OSError as error:
        # transformers raises OSError alike for no safetensors, no network and a broken file; the pickle tells.
        if not _has_pickle_only(model_name_or_path, revision):
            raise UsageError(_why_not_loaded(named, model_name_or_path, error)) from error
        if not allow_pickle:
            raise UsageError(
                f"{named} has its weights as a pickle only, which can run any code when loaded; convert it to "
                f"safetensors, or pass --allow_pickle if you trust its author"
            ) from error
    except (SafetensorError, EOFError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(_broken(named, error)) from error
    try:
        return load(use_safetensors=False)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(_broken(named, error)) from error


def _has_pickle_only(model_name_or_path: str, revision: str | None) -> bool:
    folder = Path(model_name_or_path)
    if folder.is_dir():
        names = [file.name for file in folder.iterdir()]
    else:
        from huggingface_hub import list_repo_files

        try:
            names = list_repo_files(model_name_or_path, revision=revision)
        except (OSError, HfHubHTTPError, ValueError):
            return False
    safetensors = any(name.endswith((".safetensors", ".safetensors.index.json")) for name in names)
    return not safetensors and any(name.startswith("pytorch_model") for name in names)


def _looks_like_path(name: str) -> bool:
    """Whether it cannot be a Hub id, `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _broken(named: str, error: BaseException) -> str:
    return (
        f"the weights of {named} cannot be read; the file is corrupt, truncated or of another model, so fetch it "
        f"again. {type(error).__name__} says: {_first_line(error)}"
    )


def _why_not_loaded(named: str, model_name_or_path: str, error: BaseException) -> str:
    """Why transformers could not load something, from the cause that it wraps."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    causes = tuple(type(cause) for cause in chain)

    def caused_by(*types: type[BaseException]) -> bool:
        return any(issubclass(cause, types) for cause in causes)

    folder = Path(model_name_or_path)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            return f"folder {model_name_or_path!r} has no config.json; give a folder that save_pretrained wrote"
        if caused_by(json.JSONDecodeError) or "valid JSON" in str(error):
            return f"config.json of {named} is not valid JSON: {_first_line(error)}"
        if "no file named" in str(error):
            return f"folder {model_name_or_path!r} has no weights (model.safetensors); is the download complete?"
        return _broken(named, error)
    if caused_by(GatedRepoError):
        return f"{named} is gated: accept its terms on its Hub page and log in with `hf auth login`"
    if caused_by(RevisionNotFoundError):
        return f"{named} does not exist: the repository has no such revision"
    if caused_by(RepositoryNotFoundError):
        return f"{named} is neither a folder here nor a repository on the Hub that you can read; check the spelling"
    if _looks_like_path(model_name_or_path):
        return f"there is no folder {model_name_or_path!r}"
    return (
        f"{named} could not be fetched: it is not in the local cache and the Hub could not be reached. Check the name "
        f"and the network; a path to a local folder works without one. transformers says: {_first_line(error)}"
    )


def _check_head(model: PreTrainedModel) -> None:
    if not type(model).__name__.endswith(("ForImageClassification", "ForImageClassificationWithTeacher")):
        raise UsageError(
            f"{type(model).__name__} has no classification head, so there is nothing to invert; load the checkpoint "
            f"with AutoModelForImageClassification"
        )
    if model.config.num_labels < 2:
        raise UsageError(
            f"the model has {model.config.num_labels} label, but inversion needs a choice of at least 2; "
            f"a regression head cannot be inverted"
        )
