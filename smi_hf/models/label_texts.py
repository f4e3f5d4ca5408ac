"""What a zero-shot classifier is to tell apart: names of labels, and texts that describe each.

A file holds one label a line, `name`, or `name<TAB>text`; a name may come again with another text. A `.json` file
holds a list of names, or an object of a text or texts by name.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.nearby import nearest_path

_MAX_BYTES = 16 << 20
_FILES = (".txt", ".tsv", ".json")


def read_label_texts(labels: Sequence[str], templates: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The texts of each label, by its name.

    Args:
        labels: names, or one file of them.
        templates: texts with `{}` for the name, for labels that have no text of their own.

    Raises:
        UsageError: the file cannot be read; there are fewer than two labels; a name or text is empty or comes twice;
            two labels have the same texts; or a template has no `{}`.
    """
    if isinstance(labels, str):
        labels = [labels]
    for template in templates:
        if "{}" not in template:
            raise UsageError(
                f"prompt {template!r} has no {{}} where the name of a label goes, as in 'a photo of a {{}}.'"
            )
    own = _from_file(Path(labels[0])) if len(labels) == 1 and _names_file(labels[0]) else _from_names(labels)
    if len(own) < 2:
        raise UsageError(f"labels name {len(own)} label, but a classifier tells at least two apart; give more names")
    texts = {
        name: tuple(given) or tuple(each.replace("{}", name) for each in templates) for name, given in own.items()
    }
    for name, each in texts.items():
        if not each or not all(text.strip() for text in each):
            raise UsageError(
                f"the label {name!r} has an empty text; give words that describe it, or leave the text out"
            )
    seen: dict[tuple[str, ...], str] = {}
    for name, each in texts.items():
        if (other := seen.setdefault(tuple(sorted(each)), name)) != name:
            raise UsageError(f"the labels {other!r} and {name!r} have the same texts, so nothing tells them apart")
    return texts


def _names_file(label: str) -> bool:
    return os.path.isfile(label) or label.endswith(_FILES)


def _from_names(names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in map(str, names):
        if not name.strip():
            raise UsageError("a label has an empty name; give a word for each")
        if name.strip() in found:
            raise UsageError(f"the label {name.strip()!r} comes twice; give each name once")
        found[name.strip()] = []
    return found


def _from_file(path: Path) -> dict[str, list[str]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{path} is larger than {_MAX_BYTES} bytes, which is no file of labels")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file of labels {str(path)!r}{nearest_path(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the file of labels {path} cannot be read: {one_line(error)}") from error
    return _from_json(text, path) if path.suffix == ".json" else _from_lines(text, path)


def _from_lines(text: str, path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, tab, words = line.partition("\t")
        name, words = name.strip(), words.strip()
        if not name and not words:
            continue
        if not name:
            raise UsageError(f"line {number} of {path} has a text, and no name before it")
        if name in found and (not tab or not found[name] or words in found[name]):
            raise UsageError(
                f"line {number} of {path} has the label {name!r} again; give each name, and each text, once"
            )
        found.setdefault(name, []).extend([words] if tab else [])
    return found


def _from_json(text: str, path: Path) -> dict[str, list[str]]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the file of labels {path} is not valid JSON: {one_line(error)}") from error
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return _from_names(values)
    if isinstance(values, Mapping):
        texts = {name: [value] if isinstance(value, str) else value for name, value in values.items()}
        if all(name.strip() and isinstance(value, list) and all(isinstance(each, str) for each in value)
               for name, value in texts.items()):  # fmt: skip
            return texts
    raise UsageError(f"{path} must hold a list of names, or an object of a text or a list of texts by name")
