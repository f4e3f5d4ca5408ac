"""What records have in common: a typed dataclass that is one JSON file in the folder that it describes."""

import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from smi_hf.errors import UsageError, printable
from smi_hf.files import replaced_atomically

# JSON has no tuples, so lists are taken for them; no number is taken for a text, no text for a number, and no NaN.
_RULES = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_MAX_BYTES = 64 << 20


class NewerRecordError(UsageError):
    """A record that a newer smi_hf wrote."""


def checked(record_class: type) -> type:
    """Class decorator for a dataclass that is a record or a part of one: its fields are checked when it is read."""
    record_class.__pydantic_config__ = _RULES
    return record_class


class JsonRecord:
    """Base of frozen dataclasses with a field `schema_version`; decorate them and their parts with `checked`.

    Args:
        file_name: of the JSON.
        version: schema version that this smi_hf writes; it reads older ones, too (`upgraded`).
        noun: what it is a record of, in a word.
        described: the same, in full.
        made_with: commands that write one.
    """

    file_name: ClassVar[str]
    version: ClassVar[int]
    noun: ClassVar[str]
    described: ClassVar[str]
    made_with: ClassVar[str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    def save(self, folder: Path) -> None:
        with replaced_atomically(folder / self.file_name) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def upgraded(cls, values: dict[str, Any], version: int) -> dict[str, Any]:
        """The values of an older record as those of this version; subclasses override it. May raise LookupError,
        TypeError, ValueError or AttributeError for values that are none of that version.

        Args:
            values: from the JSON; may be changed.
            version: their schema version, at least 1 and less than `cls.version`.
        """
        return values

    def check(self) -> None:
        """Checks what types cannot say; subclasses override it and raise ValueError."""

    @classmethod
    def from_json(cls, text: str, source: str) -> Self:
        """Reads a record of this version or an older one.

        Args:
            source: where the text comes from, for messages.

        Raises:
            UsageError: it is no record.
            NewerRecordError: it has a newer schema version.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{source} is not a record of {cls.described}: it is not valid JSON ({error})") from error
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version is None:
            raise UsageError(
                f"{source} is not a record of {cls.described}: it has no schema_version; make one with {cls.made_with}"
            )
        if type(version) is not int or not 1 <= version <= cls.version:
            is_newer = type(version) is int and version > cls.version
            raise (NewerRecordError if is_newer else UsageError)(
                f"{source} has schema version {version!r}, but this smi_hf reads {_versions(cls.version)}; install "
                f"the smi_hf that wrote it, or make the {cls.noun} again"
            )
        try:
            if version < cls.version:
                values = cls.upgraded(values, version) | {"schema_version": cls.version}
            record = _adapter(cls).validate_json(json.dumps(values))
            record.check()
        except ValidationError as error:
            raise UsageError(f"{source} is not a record of {cls.described}: {_first_violation(error)}") from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{source} is not a record of {cls.described}: {error}") from error
        return record

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The record of a folder.

        Raises:
            UsageError: there is none, or it cannot be read.
        """
        path = folder / cls.file_name
        if not path.is_file():
            raise UsageError(
                f"{folder} is not {cls.described}: it has no {cls.file_name}; make one with {cls.made_with}"
            )
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise UsageError(f"{path} is not a record of {cls.described}: it is larger than {_MAX_BYTES} bytes")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
        return cls.from_json(text, str(path))


@functools.cache
def _adapter(record_class: type) -> TypeAdapter:
    return TypeAdapter(record_class)


def _versions(newest: int) -> str:
    return "version 1" if newest == 1 else f"versions 1 to {newest}"


def _first_violation(error: ValidationError) -> str:
    """What is wrong first: `teacher.name: Input should be a valid string`."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The name of a field may be anything that a file holds.
    place = printable(".".join(map(str, first["loc"]))) or "the whole"
    return f"{place}: {first['msg']}"
