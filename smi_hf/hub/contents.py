"""The files of a folder that are published: regular files inside it, read once, with the digest of what is sent."""

import os
from pathlib import Path

from huggingface_hub import CommitOperationAdd

from smi_hf.errors import UsageError

# What is sent of a small file is what was digested. A large one is read again by the upload, and the Hub compares its
# digest with what arrives.
_READ_AT_ONCE = 4 << 20


def check_inside(folder: Path, name: str) -> None:
    """Checks that a path is a regular file in a folder, and not a link that leads out of it.

    Args:
        folder: may itself be a link.
        name: path in the folder, with slashes.

    Raises:
        UsageError: it is not.
    """
    path = folder / name
    if path.resolve() != folder.resolve() / name:
        raise UsageError(
            f"{path} is a link, or lies behind one, and only files of the folder itself are published; put the file "
            f"itself there (`cp -rL` copies a folder with what its links lead to)"
        )
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file, and nothing else is published; remove it")


def read_file(folder: Path, name: str) -> CommitOperationAdd:
    """A file of a folder, ready to be sent; `upload_info.sha256` is the digest of what will be.

    Args:
        folder, name: as for `check_inside`; the file exists.

    Raises:
        UsageError: it is a link, is no regular file, or cannot be read.
    """
    check_inside(folder, name)
    path = folder.resolve() / name
    try:
        if path.stat().st_size > _READ_AT_ONCE:
            return CommitOperationAdd(name, path)
        with open(path, "rb", opener=_open_no_link) as file:
            return CommitOperationAdd(name, file.read())
    except OSError as error:
        raise UsageError(f"{folder / name} cannot be read: {error}") from error


def _open_no_link(path: str, flags: int) -> int:
    # It may have become a link since it was looked at.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def sha256_of(operation: CommitOperationAdd) -> str:
    """Digest of what will be sent, in hexadecimal."""
    return operation.upload_info.sha256.hex()
