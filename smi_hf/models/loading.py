"""Loading configurations and weights: every way in which that fails is one sentence."""

import importlib
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from smi_hf.environment import how_to_install
from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.models.classification import answer_by_name
from smi_hf.models.families.base import import_family
from smi_hf.models.references import is_local
from smi_hf.nearby import nearest_path

# One request that says whether a checkpoint is there: transformers asks for each file, and asks again for minutes.
_SECONDS = 10
_LONGEST_QUOTE = 300


@dataclass(frozen=True)
class CheckpointSource:
    """Where the files of a checkpoint are.

    Args:
        name_or_path: Hub id or folder.
        revision: branch, tag or commit that was asked for.
        file_names: of the folder, or of the repository; empty if the Hub could not be reached.
        is_reachable: False of a repository on the Hub that only the local cache can give.
    """

    name_or_path: str
    revision: str | None
    file_names: tuple[str, ...]
    is_reachable: bool = True

    @property
    def named(self) -> str:
        """The checkpoint in the words of a message."""
        return f"model {self.name_or_path!r}" + (f" at revision {self.revision!r}" if self.revision else "")

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`: the checkpoint's own Python is never run, nor asked about."""
        return {
            "revision": self.revision,
            "trust_remote_code": False,
            "local_files_only": not self.is_reachable,
        }


def find_checkpoint(name_or_path: str, *, revision: str | None = None) -> CheckpointSource:
    """Looks a checkpoint up: a folder here first, else with one request to the Hub.

    Raises:
        UsageError: it is not there.
    """
    if not name_or_path.strip():
        raise UsageError("the name of the model is empty; give a Hub id or a folder")
    if os.path.isfile(name_or_path):
        raise UsageError(f"there is no folder {name_or_path!r}: it is a file; give the folder that it is in")
    if os.path.isdir(name_or_path):
        try:
            return CheckpointSource(name_or_path, revision, tuple(os.listdir(name_or_path)))
        except OSError as error:
            raise UsageError(f"folder {name_or_path!r} cannot be read: {error.strerror}") from error
    if is_local(name_or_path):
        raise UsageError(f"there is no folder {name_or_path!r}{nearest_path(name_or_path)}")
    absent = CheckpointSource(name_or_path, revision, (), is_reachable=False)
    try:
        info = HfApi().model_info(name_or_path, revision=revision, timeout=_SECONDS)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise UsageError(_why_not_loaded(absent, error)) from error
    except HfHubHTTPError:
        # The Hub answers, though not this question; the files may still come.
        return CheckpointSource(name_or_path, revision, ())
    except connection_errors():
        return absent
    return CheckpointSource(name_or_path, revision, tuple(file.rfilename for file in info.siblings or ()))


def load_config(name_or_path: str, *, revision: str | None = None) -> PretrainedConfig:
    """A checkpoint's configuration; see `read_config`."""
    return read_config(find_checkpoint(name_or_path, revision=revision))


def read_config(source: CheckpointSource) -> PretrainedConfig:
    """A checkpoint's configuration; `_commit_hash` is its commit on the Hub, None for a folder.

    Raises:
        UsageError: not found, no network, not valid, or it needs Python code of its own; or the plug-in of its family
            fails.
    """
    if os.path.isdir(source.name_or_path) and "config.json" not in source.file_names:
        raise UsageError(
            f"folder {source.name_or_path!r} has no config.json; give a folder that save_pretrained wrote"
        )
    try:
        import_family(source.name_or_path, **source.options)
        config = AutoConfig.from_pretrained(source.name_or_path, **source.options)
    except UsageError:
        raise
    except _failures(HfHubHTTPError) as error:
        raise UsageError(_why_not_loaded(source, error)) from error
    except ImportError as error:
        raise UsageError(_lacking(source, error)) from error
    # A model type that transformers does not know, or values of types that a configuration cannot have.
    except (ValueError, TypeError, AttributeError, KeyError, StrictDataclassError) as error:
        if needs_remote_code(error):
            raise UsageError(remote_code_refusal(source)) from error
        raise UsageError(
            f"config.json of {source.named} describes no model that this transformers knows: {one_line(error)}"
        ) from error
    # transformers 5 no longer says which commit it took.
    config._commit_hash = getattr(config, "_commit_hash", None) or _cached_commit(source)
    return config


def _cached_commit(source: CheckpointSource) -> str | None:
    """The commit that the cache has the configuration of, under the name that was asked for."""
    if os.path.isdir(source.name_or_path):
        return None
    path = try_to_load_from_cache(source.name_or_path, "config.json", revision=source.revision)
    return Path(path).parent.name if isinstance(path, str) else None


def check_in_floating_point(source: CheckpointSource, config: PretrainedConfig) -> None:
    """Checks that a checkpoint was not quantized.

    Raises:
        UsageError: it was.
    """
    if quantized := getattr(config, "quantization_config", None):
        method = dict(quantized).get("quant_method", "unknown") if isinstance(quantized, dict) else quantized
        raise UsageError(
            f"{source.named} is quantized already (quantization_config, method {method}); give the checkpoint in "
            f"floating point that it was made from"
        )


def read_weights(
    source: CheckpointSource,
    *,
    allow_pickle: bool = False,
    pickle_option: str = "--allow_pickle",
    model_class: Any = AutoModelForImageClassification,
    options: Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """A model in float32, every weight of which is in the checkpoint.

    Args:
        allow_pickle: whether a pickle is loaded if there are no safetensors.
        pickle_option: the option that allows it, for messages.
        model_class: what loads it; that of image classifiers by default.
        options: further keyword arguments of its `from_pretrained`.

    Raises:
        UsageError: not found, no network, broken or headless checkpoint, or pickle-only weights.
    """

    def load(**how: Any) -> PreTrainedModel:
        model, report = model_class.from_pretrained(
            source.name_or_path,
            output_loading_info=True,
            dtype=torch.float32,
            **source.options,
            **how,
            **options or {},
        )
        if missing := sorted(report["missing_keys"]):
            advice = (
                "without a trained classification head it tells no classes apart, so give an image classifier"
                if model_class is AutoModelForImageClassification
                else "give an intact checkpoint"
            )
            raise UsageError(
                f"{source.named} has no weights for {', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}; "
                f"{advice}"
            )
        answer_by_name(model)
        return model

    try:
        return load(use_safetensors=True)
    except UsageError:
        raise
    except _failures() as error:
        # transformers raises OSError alike for no safetensors, no network and a broken file; the pickle tells.
        if not _has_pickle_only(source):
            raise UsageError(_why_not_loaded(source, error)) from error
        if not allow_pickle:
            raise UsageError(
                f"{source.named} has its weights as a pickle only, which can run any code when loaded; convert it to "
                f"safetensors, or pass {pickle_option} if you trust its author"
            ) from error
    except (SafetensorError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise UsageError(_broken(source, error)) from error
    except ImportError as error:
        raise UsageError(_lacking(source, error)) from error
    # Sizes in config.json that make no model: the code of models does not check them.
    except (TypeError, AttributeError, ArithmeticError, AssertionError, IndexError) as error:
        raise UsageError(
            f"config.json of {source.named} describes no model that can be built ({type(error).__name__}: "
            f"{one_line(error)}); mend it, or fetch it again"
        ) from error
    try:
        return load(use_safetensors=False)
    except UsageError:
        raise
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UsageError(_broken(source, error)) from error


def connection_errors() -> tuple[type[Exception], ...]:
    """What a request raises that gets no answer, or half of one; a client in offline mode, too."""
    # huggingface_hub speaks HTTP through requests, httpx or httpx2, as its version is; its own error tells which.
    client = importlib.import_module(HfHubHTTPError.__bases__[0].__module__)
    # httpx has a Timeout that is no error.
    names = ("ConnectionError", "Timeout", "ChunkedEncodingError", "TransportError")
    named = (getattr(client, name, None) for name in names)
    errors = (each for each in named if isinstance(each, type) and issubclass(each, Exception))
    return (ConnectionError, TimeoutError, *errors)


def _failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What transformers raises for files that it does not get."""
    return (OSError, *connection_errors(), *more)


def _has_pickle_only(source: CheckpointSource) -> bool:
    safetensors = any(name.endswith((".safetensors", ".safetensors.index.json")) for name in source.file_names)
    return not safetensors and any(name.startswith("pytorch_model") for name in source.file_names)


def _broken(source: CheckpointSource, error: BaseException) -> str:
    return (
        f"the weights of {source.named} cannot be read; the file is corrupt, truncated or of another model, so fetch "
        f"it again. {type(error).__name__} says: {first_line(error)}"
    )


def _lacking(source: CheckpointSource, error: ImportError) -> str:
    if "timm" in str(error):
        return f"{source.named} is a model of timm, which is not installed; install it with {how_to_install('timm')}"
    return f"{source.named} needs a package that is not installed: {one_line(error)}"


def first_line(error: BaseException) -> str:
    """What another library says first."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 3] + "..."


def _why_not_loaded(source: CheckpointSource, error: BaseException) -> str:
    """Why transformers could not load something, from the cause that it wraps."""
    causes = list(_causes(error))

    def caused_by(*types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in causes)

    if needs_remote_code(error):
        return remote_code_refusal(source)
    if os.path.isdir(source.name_or_path):
        if caused_by(json.JSONDecodeError) or "valid JSON" in str(error):
            return f"config.json of {source.named} is not valid JSON: {first_line(error)}"
        if "no file named" in str(error):
            return f"folder {source.name_or_path!r} has no weights (model.safetensors); is the download complete?"
        return _broken(source, error)
    if caused_by(GatedRepoError):
        return f"{source.named} is gated: accept its terms on its Hub page and log in with `hf auth login`"
    if caused_by(RevisionNotFoundError):
        return f"{source.named} does not exist: the repository has no such revision"
    if caused_by(RepositoryNotFoundError, HFValidationError):
        return (
            f"{source.named} is neither a folder here{nearest_path(source.name_or_path)} nor a repository on the Hub "
            f"that you can read; check the name, or log in with `hf auth login`"
        )
    return (
        f"{source.named} could not be fetched: it is not in the local cache and the Hub could not be reached. Check "
        f"the name{nearest_path(source.name_or_path)} and the network; a path to a local folder works without one. "
        f"transformers says: {first_line(error)}"
    )


def needs_remote_code(error: BaseException) -> bool:
    """Whether transformers failed as the checkpoint's own Python was not run."""
    return "trust_remote_code" in str(error)


def remote_code_refusal(source: CheckpointSource) -> str:
    return (
        f"{source.named} can only be loaded by running Python code that it brings along, which smi_hf never does; "
        f"give a checkpoint of a model that transformers knows"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
