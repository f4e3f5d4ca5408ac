"""Records in JSON: read back as they were written, upgraded, or refused in one sentence that names the place."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from smi_hf import UsageError, json_record
from smi_hf.json_record import JsonRecord, NewerRecordError, checked


@checked
@dataclass(frozen=True)
class Part:
    name: str
    sizes: tuple[int, ...]


@checked
@dataclass(frozen=True)
class Note(JsonRecord):
    file_name = "note.json"
    version = 2
    noun = "note"
    described = "a note"
    made_with = "a pen"

    part: Part
    share: float = 0.5
    remark: str | None = None
    schema_version: int = 2

    def check(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}, and not from 0 to 1")

    @classmethod
    def upgraded(cls, values: dict[str, Any], version: int) -> dict[str, Any]:
        """Version 1 had no part."""
        return {"part": {"name": values.pop("name"), "sizes": []}, **values}


NOTE = Note(Part("crème", (1, 2)))
VALUES = json.loads(NOTE.to_json())


def read(values: object) -> Note:
    return Note.from_json(json.dumps(values), "here")


def test_a_record_is_read_back_as_it_was_saved(tmp_path):
    NOTE.save(tmp_path)
    assert Note.load(tmp_path) == NOTE
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


def test_a_record_that_cannot_be_json_leaves_the_one_before(tmp_path):
    NOTE.save(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        Note(NOTE.part, share=float("nan")).save(tmp_path)
    assert Note.load(tmp_path) == NOTE
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


def test_an_older_record_is_upgraded_and_is_then_of_this_version():
    assert read({"schema_version": 1, "name": "old", "share": 1.0}) == Note(Part("old", ()), share=1.0)


def test_an_older_record_that_lacks_what_its_version_had_is_refused():
    with pytest.raises(UsageError, match="here is not a record of a note: 'name'"):
        read({"schema_version": 1})


def test_a_newer_record_is_told_from_one_that_is_none():
    with pytest.raises(NewerRecordError, match="schema version 3, but this smi_hf reads versions 1 to 2; install"):
        read(VALUES | {"schema_version": 3})
    for number in (0, -1, "2", 2.0, True):
        with pytest.raises(UsageError, match=re.escape(f"has schema version {number!r}, but")) as refusal:
            read(VALUES | {"schema_version": number})
        assert not isinstance(refusal.value, NewerRecordError)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": {"name": 3, "sizes": []}}, "part.name: Input should be a valid string"),
        ({"part": {"name": "a", "sizes": [1, "2"]}}, "part.sizes.1: Input should be a valid integer"),
        ({"part": {"name": "a", "sizes": [True]}}, "part.sizes.0: Input should be a valid integer"),
        ({"part": {"name": "a"}}, "part.sizes: Field required"),
        ({"part": {"name": "a", "sizes": [], "color": "red"}}, "part.color: "),
        ({"color": "red"}, "color: "),
        ({"a\nb": "red"}, "a\\nb: "),
        ({"share": "0.5"}, "share: Input should be a valid number"),
        ({"share": float("nan")}, "share: "),
        ({"share": 1.5}, "share is 1.5, and not from 0 to 1"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_place(changes, message):
    with pytest.raises(UsageError, match=f"^here is not a record of a note: {re.escape(message)}") as refusal:
        read(VALUES | changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not valid JSON"),
        ("[" * 100_000, "it is not valid JSON"),
        ("[]", "it has no schema_version; make one with a pen"),
        ("3", "it has no schema_version"),
        ("{}", "it has no schema_version"),
    ],
)
def test_what_is_no_record_is_refused(text, message):
    with pytest.raises(UsageError, match=f"here is not a record of a note: {message}"):
        Note.from_json(text, "here")


def test_a_file_that_is_absent_too_large_or_no_text_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"is not a note: it has no note.json; make one with a pen"):
        Note.load(tmp_path)
    (tmp_path / "note.json").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"note.json cannot be read: "):
        Note.load(tmp_path)
    NOTE.save(tmp_path)
    monkeypatch.setattr(json_record, "_MAX_BYTES", 10)
    with pytest.raises(UsageError, match=r"note.json is not a record of a note: it is larger than 10 bytes"):
        Note.load(tmp_path)
