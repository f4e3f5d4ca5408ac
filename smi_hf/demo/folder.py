"""The folder of a demonstration: it may be made again and again, and loses no file of anybody else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from smi_hf.errors import UsageError
from smi_hf.json_record import JsonRecord, checked

RECORD_FILE = "demo.json"
SCHEMA_VERSION = 1


@checked
@dataclass(frozen=True)
class DemoRecord(JsonRecord):
    """What a demonstration wrote.

    Args:
        files: paths in its folder, with `/` between the parts.
        writing: folder of the step that was begun last and has not ended; all in it is the demonstration's.
    """

    file_name = RECORD_FILE
    version = SCHEMA_VERSION
    noun = "demonstration"
    described = "a demonstration of smi_hf"
    made_with = "smi-hf demo"

    files: tuple[str, ...] = ()
    writing: str | None = None
    schema_version: int = SCHEMA_VERSION

    def lists(self, path: str) -> bool:
        """Whether a file is the demonstration's own."""
        return path in (*self.files, RECORD_FILE) or (self.writing is not None and path.startswith(f"{self.writing}/"))


def open_folder(folder: Path) -> None:
    """Makes the folder ready: new, or emptied of what an earlier demonstration wrote.

    Raises:
        UsageError: it holds a file that no demonstration wrote, or cannot be written; nothing in it was changed.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"output_dir {folder} is a file, not a folder; choose another folder")
    try:
        found = list(_files(folder)) if folder.is_dir() else []
        if found:
            record = DemoRecord.load(folder) if (folder / RECORD_FILE).is_file() else DemoRecord()
            if strange := sorted(path for path in found if not record.lists(path)):
                raise UsageError(
                    f"output_dir {folder} holds {strange[0]}, which no demonstration wrote; nothing was changed, so "
                    f"choose another folder"
                )
            _discard(folder, found)
        folder.mkdir(parents=True, exist_ok=True)
        DemoRecord().save(folder)
    except OSError as error:
        raise UsageError(f"output_dir {folder} cannot be written: {error}; choose another folder") from error


@contextmanager
def step(folder: Path, name: str) -> Iterator[Path]:
    """While it lasts, a step of the demonstration writes into its own folder, which is yielded."""
    record = DemoRecord.load(folder)
    replace(record, writing=name).save(folder)
    yield folder / name
    DemoRecord(tuple(sorted(path for path in _files(folder) if path != RECORD_FILE))).save(folder)


@contextmanager
def file_step(folder: Path, name: str) -> Iterator[Path]:
    """While it lasts, the demonstration writes a file of its own into its folder, which is yielded."""
    record = DemoRecord.load(folder)
    replace(record, files=tuple(sorted({*record.files, name}))).save(folder)
    yield folder / name


def _files(folder: Path) -> Iterator[str]:
    """Paths of all that is no folder; links are not followed."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _discard(folder: Path, files: list[str]) -> None:
    """Removes these files and the folders that are empty then, the record last."""
    for path in sorted(files, key=lambda path: path == RECORD_FILE):
        (folder / path).unlink()
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        path.rmdir()
