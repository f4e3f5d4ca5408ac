"""Files: written so that a crash at any moment leaves the old one or the new one, never half of one; one writer at a
time in a folder; digests; and what the file system or another library says, in a sentence."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smi_hf.errors import RunError, UsageError

TEMPORARY_SUFFIX = ".incomplete"
# Says that a folder is one of `folder_made_whole`, not finished.
_UNFINISHED_FILE = ".smi_hf-unfinished"
LOCK_FILE = ".smi_hf.lock"
# Names the folder of everything that smi_hf keeps for itself.
CACHE_VARIABLE = "SMI_HF_CACHE"
_TEMPORARY = re.compile(r"\..+\.\d+" + re.escape(TEMPORARY_SUFFIX), re.DOTALL)

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_WRITABLE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)


def cache_folder() -> Path:
    """The folder that `SMI_HF_CACHE` names; unless it is set, `smi_hf` in the cache of Hugging Face (`HF_HOME`)."""
    from huggingface_hub.constants import HF_HOME

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path(HF_HOME) / "smi_hf"


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


def is_leftover(path: Path) -> bool:
    """Whether a file is what a killed run may leave: a temporary of `replaced_atomically`, or the lock."""
    return path.name == LOCK_FILE or _TEMPORARY.fullmatch(path.name) is not None


def contents(folder: Path) -> list[Path]:
    """What a folder holds except leftovers, sorted; nothing if there is no such folder.

    Raises:
        OSError: it is no folder, or cannot be read.
    """
    if not os.path.lexists(folder):
        return []
    return sorted(path for path in folder.iterdir() if not is_leftover(path))


def remove_temporaries(folder: Path) -> None:
    """Removes what runs that were killed while writing left in a folder."""
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def one_writer(folder: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Makes a folder if need be, and keeps every other writer out of it while the block runs.

    The lock is a file in the folder, held by `flock`: it ends with the process, however that ends. It is removed in
    the end, and so is the folder if it was made here and nothing was written into it. It cannot be nested, and of a
    run of several processes the main one alone takes it. Whether the folder may be written to is to be asked inside.

    Args:
        folder: what is locked.
        instead_of: the folder that messages name, if it is another one.

    Raises:
        UsageError: another run writes there, or the folder cannot be made or written to.
        RunError: the block ran out of space.
    """
    with disk_errors(instead_of or folder):
        made = [path for path in (folder, *folder.absolute().parents) if not os.path.lexists(path)]
        lock = _lock(folder, instead_of or folder)
        try:
            yield
        finally:
            # While it is held: whoever opened the same file meanwhile sees that it is gone, and tries again.
            (folder / LOCK_FILE).unlink(missing_ok=True)
            os.close(lock)
            with suppress(OSError):
                for path in made:
                    path.rmdir()


def _lock(folder: Path, named: Path) -> int:
    """An open file that holds the lock of a folder."""
    path = folder / LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue  # Whoever made the folder wrote nothing and has just removed it.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError as error:
            os.close(file)
            raise UsageError(
                f"another run is writing to output_dir {named}; wait until it ends, or choose another folder"
            ) from error
        except BaseException:
            os.close(file)
            raise
        os.close(file)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Makes one sentence of what the file system says in the block about writing to a folder.

    Raises:
        RunError: there is no space left.
        UsageError: the folder, or something in it, cannot be written.
        OSError: anything else, as it came.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise RunError(f"no space left to write in {folder}; make room and run the same command again") from error
        if error.errno in _NOT_WRITABLE and folder.name in str(error):
            raise UsageError(
                f"output_dir {folder} cannot be written: {one_line(error)}; choose another folder"
            ) from error
        raise


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
    killed left there is removed by the next one; one that still writes there is not disturbed.

    Raises:
        UsageError: `folder` exists, cannot be made, or is being written by another run.
        RunError: there is no space left.
    """
    check_new_folder(folder)
    target = Path(os.path.abspath(folder))
    work = target.with_name(f".{target.name}{TEMPORARY_SUFFIX}")
    with one_writer(work, instead_of=folder):
        check_new_folder(folder)
        _remove_unfinished(work)
        (work / _UNFINISHED_FILE).touch()
        try:
            yield work / target.name
            os.replace(work / target.name, target)
        finally:
            _remove_unfinished(work)
    with suppress(OSError):
        work.rmdir()


def _remove_unfinished(work: Path) -> None:
    """Removes what `folder_made_whole` made, and no file of anybody else."""
    entries = contents(work)
    if entries and work / _UNFINISHED_FILE not in entries:
        raise UsageError(
            f"{work} is in the way: a folder of that name is needed while output_dir is made; move it away"
        )
    # The marker last, as it says that the rest is ours.
    for path in sorted(entries, key=lambda path: path.name == _UNFINISHED_FILE):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def check_folder_name(name: str) -> None:
    """Checks that the option `output_dir` can name a folder.

    Raises:
        UsageError: it cannot.
    """
    if not name or "\0" in name:
        raise UsageError(f"output_dir must name a folder, but {name!r} was given")


def check_new_folder(folder: Path) -> None:
    """Checks, without writing, that a folder can be made.

    Raises:
        UsageError: it exists, or what it would be made in is no folder or cannot be written to.
    """
    with disk_errors(folder):
        if os.path.lexists(folder):
            raise UsageError(f"output_dir {folder} exists; choose another folder, or remove it")
        parent = next(path for path in folder.absolute().parents if path.exists())
    if not parent.is_dir():
        raise UsageError(f"output_dir {folder} cannot be made: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"output_dir {folder} cannot be made: no permission to write in {parent}")
