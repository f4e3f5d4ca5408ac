"""JSON files that a run left beside its record, read as far as a report shows them."""

import logging
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from smi_hf.files import one_line

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_BYTES = 4 << 20


def read_beside(folder: Path, file_name: str, shape: type[T]) -> T | None:
    """What a file of a folder holds; None if there is no file. One that holds something else is a warning, and None.

    Args:
        shape: a dataclass; further values in the file are passed over.
    """
    path = folder / file_name
    if path.is_symlink() or not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
        return TypeAdapter(shape).validate_json(path.read_bytes())
    except (OSError, ValueError, ValidationError) as error:
        logger.warning("%s is not shown: %s", file_name, one_line(error))
        return None
