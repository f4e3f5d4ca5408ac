"""Licenses on cards: of what a dataset or model was made from."""

from typing import Any

from smi_hf.models.references import License


def license_metadata(*licenses: License | None) -> dict[str, Any]:
    """The YAML of a card for what is made of things under these licences: empty unless they are known and the same."""
    if not licenses or licenses[0] is None or any(each != licenses[0] for each in licenses):
        return {}
    first = licenses[0]
    named = {"license": first.id, "license_name": first.name, "license_link": first.link}
    return {key: value for key, value in named.items() if value is not None}


def describe_license(license: License | None) -> str | None:
    """A licence in Markdown, None if it is unknown."""
    if license is None:
        return None
    ids = [license.id] if isinstance(license.id, str) else license.id
    words = license.name or " and ".join(ids)
    return f"[{words}]({license.link})" if license.link else f"`{words}`"
