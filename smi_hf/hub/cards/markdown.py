"""What all cards share: templates, and values as they stand in Markdown.

Names, settings and licenses of a record come from other people's checkpoints and cards. In a template every value is
escaped, unless one of the functions here has made Markdown of it (`Markup`): a value is text, and never a link,
markup, a line or a table column of its own.
"""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from jinja2 import Environment as TemplateEnvironment
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from smi_hf.environment import Environment
from smi_hf.evaluation.record import StudentReference
from smi_hf.models.references import CheckpointReference

# Stands for the folder in the examples of a card that is not on the Hub yet.
NO_REPOSITORY = "path/to/this/folder"
_TEMPLATES = Path(__file__).parent / "templates"
_MAX_LENGTH = 1000
# An underscore inside a word is only an underscore.
_MARKS = re.compile(r"[\\`*\[\]<>~&$]|(?<![^\W_])_|_(?![^\W_])")
_IN_ADDRESSES = "/:?#@!$&'*+,;=%~-._"


def template_environment(folder: Path = _TEMPLATES) -> TemplateEnvironment:
    """The templates of a folder, those of cards if none is given; what they put into a card is escaped."""
    environment = TemplateEnvironment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        # Markdown's escapes come before those of HTML, which leave `Markup` alone.
        finalize=inline,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"checkpoint": checkpoint, "table": table}
    environment.filters |= {"code": code, "python": python_text, "shell": shell_word, "address": file_address}
    return environment


def plain(value: Any) -> str:
    """A value as one line of printable characters, for YAML and messages."""
    shown = "".join(character for character in str(value) if character.isprintable() or character.isspace())
    text = " ".join(shown.split())
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "..."


def inline(value: Any) -> Markup:
    """A value as text in a line of Markdown."""
    return value if isinstance(value, Markup) else Markup(_MARKS.sub(r"\\\g<0>", plain(value)))


def code(value: Any) -> Markup:
    """A value as a code span."""
    text = plain(value)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return Markup(f"{fence}{space}{text}{space}{fence}" if text else "")


def link(words: Any, address: str | None) -> Markup:
    """A link, or the words alone if the address is none of the web."""
    target = web_address(address)
    return Markup(f"[{inline(words)}]({target})") if target else inline(words)


def web_address(address: str | None) -> str | None:
    """An address as a link may hold it, None if there is none or it is not of the web (`javascript:`)."""
    try:
        parts = urlsplit(plain(address or ""))
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    return quote(parts.geturl(), safe=_IN_ADDRESSES)


def file_address(name: str) -> Markup:
    """The name of a file beside the card as the target of a link."""
    return Markup(quote(name))


def python_text(value: Any) -> Markup:
    """A value as a string of Python."""
    return Markup(json.dumps(plain(value), ensure_ascii=False))


def shell_word(value: Any) -> Markup:
    """A value as one word of a command."""
    return Markup(shlex.quote(plain(value)))


def table(rows: Iterable[Sequence[Any]]) -> Markup:
    """A Markdown table, its head and the line below it included."""
    lines = (" | ".join(inline(cell).replace("|", r"\|") for cell in row) for row in rows)
    return Markup("".join(f"| {line} |\n" for line in lines))


def settings_table(settings: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Settings as rows of a Markdown table, its head included; those that were left to a default of None are not."""
    return [("setting", "value"), ("---", "---"), *_shown(settings)]


def settings_list(settings: dict[str, Any]) -> Markup:
    """Settings in a line of Markdown, without those that were left to a default of None; empty if there is none."""
    return Markup(", ").join(Markup(f"{name} {inline(value)}") for name, value in _shown(settings))


def describe_versions(environment: Environment | None) -> str:
    """Packages and their versions in one line."""
    packages = environment.packages if environment else {}
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version) or "not recorded"


def is_on_hub(name: str | None, revision: str | None) -> bool:
    """Whether a record names a repository on the Hub, and not a local folder or nothing that the Hub knows."""
    if name is None or revision is None:
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def checkpoint(reference: CheckpointReference | StudentReference) -> Markup:
    """A checkpoint of a record: with a link to its commit if it is on the Hub."""
    name, revision = reference.name, reference.revision
    if is_on_hub(name, revision):
        target = f"{ENDPOINT}/{name}/tree/{quote(plain(revision), safe='')}"
        return Markup(f"{link(name, target)} (revision {code(revision)})")
    return code(name or "a model without a name")


def reference_path(reference: CheckpointReference) -> str:
    """What to write for a checkpoint of a record in an example: its Hub id, or a path that stands for the folder."""
    return reference.name if is_on_hub(reference.name, reference.revision) else f"path/to/{reference.name}"


def _shown(settings: dict[str, Any]) -> list[tuple[Markup, str]]:
    return [(code(name), _words(value)) for name, value in settings.items() if value is not None and value != []]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items() if each is not None)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
