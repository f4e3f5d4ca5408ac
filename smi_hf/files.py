"""Files: written so that a crash at any moment leaves the old one or the new one, never half of one, and digests."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smi_hf.errors import UsageError

TEMPORARY_SUFFIX = ".incomplete"
# Says that a folder is one of `folder_made_whole`, not finished.
_UNFINISHED_FILE = ".smi_hf-unfinished"


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it becomes `path`, on any error it is removed.

    Raises:
        OSError: as the block and the file system raise it (no space, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The rename itself must survive a power cut as well.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_temporaries(folder: Path) -> None:
    """Removes what runs that were killed while writing left in a folder."""
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Digest of a file in hexadecimal; it is read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_line(error: BaseException, *, max_length: int = 300) -> str:
    """What another library says, fit to stand in a sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


@contextmanager
def folder_made_whole(folder: Path) -> Iterator[Path]:
    """Yields the path of a folder to write; on success it becomes `folder`, on any error nothing is left of it.

    The path does not exist yet, and lies beside `folder`, so that the last step is a rename. What a process that was
    killed left there is removed by the next one.

    Raises:
        UsageError: `folder` exists, or cannot be made.
    """
    check_new_folder(folder)
    folder = Path(os.path.abspath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}{TEMPORARY_SUFFIX}")
    _remove_unfinished(work)
    work.mkdir()
    (work / _UNFINISHED_FILE).touch()
    try:
        yield work / folder.name
        os.replace(work / folder.name, folder)
    finally:
        _remove_unfinished(work)


def _remove_unfinished(work: Path) -> None:
    """Removes what `folder_made_whole` made, and no folder of anybody else."""
    if work.is_dir() and not work.is_symlink() and ((work / _UNFINISHED_FILE).is_file() or not any(work.iterdir())):
        shutil.rmtree(work)


def check_new_folder(folder: Path) -> None:
    """Checks, without writing, that a folder can be made.

    Raises:
        UsageError: it exists, or what it would be made in is no folder or cannot be written to.
    """
    if folder.exists():
        raise UsageError(f"output_dir {folder} exists; choose another folder, or remove it")
    parent = next(path for path in folder.absolute().parents if path.exists())
    if not parent.is_dir():
        raise UsageError(f"output_dir {folder} cannot be made: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"output_dir {folder} cannot be made: no permission to write in {parent}")
