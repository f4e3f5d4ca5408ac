"""Loading configurations and weights: every way in which that fails is one sentence."""

import json
import pickle
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
from smi_hf.models.references import is_local


def named_model(model_name_or_path: str, revision: str | None = None) -> str:
    """A checkpoint in the words of a message."""
    return f"model {model_name_or_path!r}" + (f" at revision {revision!r}" if revision else "")


def load_config(model_name_or_path: str, *, revision: str | None = None) -> PretrainedConfig:
    """A checkpoint's configuration.

    Raises:
        UsageError: not found, no network, or not valid.
    """
    named = named_model(model_name_or_path, revision)
    if Path(model_name_or_path).is_file():
        raise UsageError(f"there is no folder {model_name_or_path!r}: it is a file; give the folder that it is in")
    try:
        return AutoConfig.from_pretrained(model_name_or_path, revision=revision)
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise UsageError(_why_not_loaded(named, model_name_or_path, error)) from error


def label_names_of(config: PretrainedConfig) -> list[str]:
    """Name of each label of a classifier, by number.

    Raises:
        UsageError: the numbers are not 0 to their count - 1.
    """
    numbers = sorted(config.id2label)
    if numbers != list(range(config.num_labels)):
        raise UsageError(
            f"id2label in the model's config.json names labels {', '.join(map(str, numbers[:8]))}"
            f"{', ...' if len(numbers) > 8 else ''}, but a model of {config.num_labels} labels has 0 to "
            f"{config.num_labels - 1}; mend config.json"
        )
    return [str(config.id2label[number]) for number in numbers]


def load_weights(named: str, model_name_or_path: str, revision: str | None, allow_pickle: bool) -> PreTrainedModel:
    """An image classifier in float32, every weight of which is in the checkpoint.

    Args:
        named: as of `named_model`, for messages.
        allow_pickle: whether a pickle is loaded if there are no safetensors.

    Raises:
        UsageError: not found, no network, broken or headless checkpoint, or pickle-only weights.
    """

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


def first_line(error: BaseException) -> str:
    """What another library says first."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _broken(named: str, error: BaseException) -> str:
    return (
        f"the weights of {named} cannot be read; the file is corrupt, truncated or of another model, so fetch it "
        f"again. {type(error).__name__} says: {first_line(error)}"
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
            return f"config.json of {named} is not valid JSON: {first_line(error)}"
        if "no file named" in str(error):
            return f"folder {model_name_or_path!r} has no weights (model.safetensors); is the download complete?"
        return _broken(named, error)
    if caused_by(GatedRepoError):
        return f"{named} is gated: accept its terms on its Hub page and log in with `hf auth login`"
    if caused_by(RevisionNotFoundError):
        return f"{named} does not exist: the repository has no such revision"
    if caused_by(RepositoryNotFoundError):
        return f"{named} is neither a folder here nor a repository on the Hub that you can read; check the spelling"
    if is_local(model_name_or_path):
        return f"there is no folder {model_name_or_path!r}"
    return (
        f"{named} could not be fetched: it is not in the local cache and the Hub could not be reached. Check the name "
        f"and the network; a path to a local folder works without one. transformers says: {first_line(error)}"
    )
