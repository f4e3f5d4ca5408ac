"""What records have in common: a dataclass that is one JSON file in the folder that it tells of."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from smi_hf.data.files import replaced_atomically
from smi_hf.errors import UsageError


class JsonRecord:
    """Base of frozen dataclasses with a field `schema_version`.

    Args:
        file_name: of the JSON.
        version: schema version that this smi_hf reads and writes.
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
        return json.dumps(asdict(self), indent=2) + "\n"

    def save(self, folder: Path) -> None:
        with replaced_atomically(folder / self.file_name) as temporary:
            temporary.write_text(self.to_json())

    @classmethod
    def from_json(cls, text: str, source: str) -> Self:
        """Reads a record.

        Args:
            source: where the text comes from, for messages.

        Raises:
            UsageError: it is no record, or one of another schema version.
        """
        raise NotImplementedError

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
        return cls.from_json(path.read_text(), str(path))

    @classmethod
    def check_version(cls, version: Any, source: str) -> None:
        """Checks the schema version of a record that is being read.

        Raises:
            UsageError: it is another one.
        """
        if version != cls.version:
            raise UsageError(
                f"{source} has schema version {version}, but this smi_hf reads version {cls.version}; install the "
                f"smi_hf that wrote it, or make the {cls.noun} again"
            )
