"""What all cards share: templates, and values as they stand in Markdown."""

from pathlib import Path
from typing import Any

from huggingface_hub.constants import ENDPOINT
from jinja2 import Environment as TemplateEnvironment
from jinja2 import FileSystemLoader, StrictUndefined

from smi_hf.environment import Environment
from smi_hf.models import CheckpointReference

# Stands for the folder in the examples of a card that is not on the Hub yet.
NO_REPOSITORY = "path/to/this/folder"
_TEMPLATES = Path(__file__).parent / "templates"


def template_environment() -> TemplateEnvironment:
    """The templates of this package."""
    environment = TemplateEnvironment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["endpoint"] = ENDPOINT
    return environment


def settings_table(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Settings as rows of a Markdown table, its head included; those that were left to a default of None are not."""
    shown = [(f"`{name}`", _words(value)) for name, value in settings.items() if value is not None and value != []]
    return [("setting", "value"), ("---", "---"), *shown]


def describe_versions(environment: Environment | None) -> str:
    """Packages and their versions in one line."""
    packages = environment.packages if environment else {}
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version) or "not recorded"


def reference_path(reference: CheckpointReference) -> str:
    """What to write for a checkpoint of a record in an example: its Hub id, or a path that stands for the folder."""
    return reference.name if reference.revision else f"path/to/{reference.name}"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items() if each is not None)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
