"""Where the rows of a set of real images come from: the Hub, a folder, or a parquet file."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.nearby import nearest_path
from smi_hf.registry import suggest

if TYPE_CHECKING:
    from datasets import Dataset

# The first that there is; test comes late, as that of a benchmark such as ImageNet has no labels.
_SPLITS = ("validation", "val", "test", "train")
# `datasets` takes paths for patterns, of one line, and "::" for a chain of archives.
_NOT_LITERAL = re.compile(r"[\[\]*?{}\x00-\x1f]|::")
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_PARQUET = b"PAR1"
_SECONDS = 10


@dataclass(frozen=True)
class Rows:
    """The rows of one split.

    Args:
        dataset: as `datasets` reads them.
        name: Hub id, or name (not path) of the local file or folder.
        is_on_hub: whether `name` is a Hub id.
        splits: all that there are.
    """

    dataset: "Dataset"
    name: str
    is_on_hub: bool
    splits: tuple[str, ...]


def load_rows(name_or_path: str, split: str | None = None) -> Rows:
    """Loads one split of a dataset.

    Args:
        name_or_path: dataset on the Hub, a folder, or a parquet file; `name:split` names the split with it.
        split: which split; the first of validation, val, test and train if None.

    Raises:
        UsageError: it cannot be loaded, or has no such split.
    """
    if not name_or_path.strip():
        raise UsageError("the name of the dataset is empty; give a dataset on the Hub, a folder, or a parquet file")
    name, split = _without_split(name_or_path, split)
    if not os.path.exists(name):
        return _from_hub(name, split)
    path = Path(name)
    # Not resolve(): a file in a cache may be a link to one that is named by its digest.
    absolute = Path(os.path.abspath(path))
    if path.is_file():
        _check_is_parquet(path)
        source, splits = {"path": "parquet", "data_files": {"train": [str(_literal(absolute))]}}, ("train",)
    else:
        source, splits = _folder_source(path, _literal(absolute))
    chosen = _chosen(split, splits, name_or_path)
    # Classes of a folder of pictures are those of all its splits.
    if source["path"] != "imagefolder":
        source["data_files"] = {chosen: source["data_files"][chosen]}
    return Rows(_loaded(name_or_path, source, chosen), absolute.name, False, splits)


def _without_split(name_or_path: str, split: str | None) -> tuple[str, str | None]:
    """`name:split` in two, unless it is the path of something that is there."""
    name, _, split_in_name = name_or_path.rpartition(":")
    if os.path.exists(name_or_path) or split is not None or not name:
        return name_or_path, split
    return name, split_in_name


def _folder_source(path: Path, literal: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What `load_dataset` is to be asked for, file by file: of a folder with a card it may give an old copy."""
    from datasets import load_dataset_builder
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError

    try:
        builder = load_dataset_builder(str(literal))
    except (EmptyDatasetError, DataFilesNotFoundError) as error:
        raise UsageError(
            f"folder {path} holds no images: give a folder that has a folder of pictures for each label, or parquet "
            f"files"
        ) from error
    except Exception as error:  # datasets raises whatever its many readers raise
        raise UsageError(f"dataset {path} cannot be loaded: {type(error).__name__}: {one_line(error)}") from error
    reader = type(builder).__module__.rpartition(".")[2]
    files = {str(split): names for split, names in builder.config.data_files.items()}
    return {"path": reader, "data_files": files, "features": builder.info.features}, tuple(files)


def _from_hub(name: str, split: str | None) -> Rows:
    from datasets import get_dataset_split_names

    _check_on_hub(name)
    try:
        # Not all splits: of ImageNet, validation is 6 GB and train 140.
        splits = tuple(get_dataset_split_names(name))
    except Exception as error:  # datasets raises whatever its many readers raise
        raise UsageError(f"dataset {name} cannot be loaded: {type(error).__name__}: {one_line(error)}") from error
    chosen = _chosen(split, splits, name)
    return Rows(_loaded(name, {"path": name}, chosen), name, True, splits)


def _loaded(name: str, source: dict[str, Any], split: str) -> "Dataset":
    from datasets import load_dataset

    try:
        return load_dataset(**source, split=split)
    except Exception as error:  # datasets raises whatever its many readers raise
        # The cause says more than "An error occurred while generating the dataset".
        reason = error.__cause__ or error
        raise UsageError(f"dataset {name} cannot be loaded: {type(reason).__name__}: {one_line(reason)}") from error


def _chosen(split: str | None, splits: tuple[str, ...], name: str) -> str:
    if split is None:
        return next((each for each in _SPLITS if each in splits), splits[0])
    if split not in splits:
        raise UsageError(
            f"dataset {name} has no split {split!r}{suggest(split, list(splits))}; it has {', '.join(splits)}"
        )
    return split


def _check_is_parquet(path: Path) -> None:
    """Refuses a file that is none, by its first bytes."""
    if path.suffix.lower() in _PICTURES:
        raise UsageError(
            f"{path} is one picture without a label; give a folder that has a folder of pictures for each label, or a "
            f"parquet file"
        )
    try:
        with open(path, "rb") as file:
            is_parquet = file.read(len(_PARQUET)) == _PARQUET
    except OSError as error:
        raise UsageError(f"dataset {path} cannot be read: {error.strerror}") from error
    if not is_parquet:
        raise UsageError(f"{path} is not a parquet file; give one, a folder of pictures, or a dataset on the Hub")


def _check_on_hub(name: str) -> None:
    """Asks once whether a dataset is there: `datasets` asks again for half a minute, and shows every attempt."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    from smi_hf.models.loading import connection_errors
    from smi_hf.models.references import is_local

    if is_local(name) or Path(name).suffix.lower() in {".parquet", *_PICTURES}:
        raise UsageError(f"dataset {name} cannot be loaded: there is no such file or folder{nearest_path(name)}")
    try:
        HfApi().dataset_info(name, timeout=_SECONDS)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UsageError(
            f"dataset {name} cannot be loaded: it is neither a file or folder here{nearest_path(name)} nor a dataset "
            f"on the Hub that you can read; check the name"
        ) from error
    except HfHubHTTPError:
        # The Hub answers, though not this question; the files may still come.
        return
    except connection_errors() as error:
        owner, _, own_name = name.rpartition("/")
        cached = "___".join([owner] * bool(owner) + [camelcase_to_snakecase(own_name)])
        if not (Path(config.HF_DATASETS_CACHE) / cached).is_dir():
            raise UsageError(
                f"dataset {name} cannot be loaded: it is not a file or folder here{nearest_path(name)}, not in the "
                f"local cache, and the Hub could not be reached; check the name and the network"
            ) from error


def _literal(path: Path) -> Path:
    """The same file or folder under a name that `datasets` does not take for a pattern: links in its cache."""
    if not _NOT_LITERAL.search(str(path)):
        return path
    from datasets import config

    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    links = Path(config.HF_DATASETS_CACHE) / "smi_hf_links" / digest
    if path.is_file():
        targets = {links / f"rows{path.suffix}": path}
    else:
        found = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        targets = {links / file.relative_to(path): file for file in found}
    # Links stay: the cache of `datasets` names pictures by their paths. What they lead to may have changed since.
    for folder, _, names in os.walk(links):
        for link in (Path(folder) / name for name in names):
            if link not in targets:
                link.unlink(missing_ok=True)
    for link, target in targets.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
    return links if path.is_dir() else next(iter(targets))
