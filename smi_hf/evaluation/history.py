"""How a checkpoint came to be: the steps that the record beside it tells, if smi_hf made it."""

import logging
from dataclasses import replace
from pathlib import Path

from smi_hf.errors import UsageError, printable
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord, Step
from smi_hf.models.beside import find_beside

logger = logging.getLogger(__name__)

_LONGEST_RECORD = 4 << 20


def find_history(name_or_path: str | None, *, revision: str | None = None) -> tuple[Step, ...]:
    """The steps that made a checkpoint, first step first; none if smi_hf did not make it.

    A record counts if the weights beside it are those that it was written for. Anything else of that name is left
    alone, and a warning says why.

    Args:
        name_or_path: Hub id or folder that the checkpoint was loaded from, None if that is not known.
        revision: its commit on the Hub; without one, a Hub id is not looked up.
    """
    path = name_or_path and find_beside(name_or_path, RESULTS_FILE, revision=revision, max_bytes=_LONGEST_RECORD)
    if not path:
        return ()
    try:
        record = ModelRecord.load(path.parent)
        if not _is_of(record, path.parent):
            raise UsageError(f"{RESULTS_FILE} is the record of other weights than those beside it")
    except (UsageError, OSError) as error:
        logger.warning(
            "how %s was made is not known, and the new record does not tell: %s", name_or_path, printable(str(error))
        )
        return ()
    return record.continued()


def _is_of(record: ModelRecord, folder: Path) -> bool:
    """Whether a record was written for the files of a folder; the Hub's cache has those alone that were loaded."""
    there = {name: digest for name, digest in record.files.items() if (folder / name).is_file()}
    weights = {path.name for path in folder.glob("*.safetensors")}
    return bool(weights) and weights <= there.keys() and replace(record, files=there).changed_file(folder) is None
