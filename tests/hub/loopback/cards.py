"""The metadata of a README.md, and what the Hub says about it."""

from __future__ import annotations

import re

import yaml

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


def read_card(text: str) -> tuple[dict, list[str], list[str]]:
    """The metadata, the errors and the warnings; a small part of the Hub's checks.

    Errors: not YAML, not a mapping, a `license` that is not an identifier, `tags` that are not a list of strings, a
    `pretty_name` that is not a string.
    """
    found = _FRONT_MATTER.match(text.replace("\r\n", "\n"))
    if found is None:
        return {}, [], ["empty or missing yaml metadata in repo card"]
    try:
        data = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return {}, [f"YAML metadata is not valid: {error}"], []
    if not isinstance(data, dict):
        return {}, ["YAML metadata must be a mapping"], []
    errors = []
    licenses = data.get("license", [])
    licenses = licenses if isinstance(licenses, list) else [licenses]
    if not all(isinstance(name, str) and re.fullmatch(r"[a-z0-9.+-]+", name) for name in licenses):
        errors.append('"license" must be an identifier such as apache-2.0, or a list of them')
    tags = data.get("tags", [])
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        errors.append('"tags" must be an array of strings')
    if not isinstance(data.get("pretty_name", ""), str):
        errors.append('"pretty_name" must be a string')
    return data, errors, []
