"""Licenses on cards: of what a dataset or model was made from."""

from typing import Any

from markupsafe import Markup

from smi_hf.hub.cards.markdown import code, link, plain, web_address
from smi_hf.models.references import License


def license_metadata(*licenses: License | None) -> dict[str, Any]:
    """The YAML of a card for what is made of things under these licenses: empty unless they are known and the same."""
    if not licenses or licenses[0] is None or any(each != licenses[0] for each in licenses):
        return {}
    first = licenses[0]
    ids = plain(first.id) if isinstance(first.id, str) else list(map(plain, first.id))
    named = {"license": ids, "license_name": first.name and plain(first.name), "license_link": web_address(first.link)}
    return {key: value for key, value in named.items() if value is not None}


def describe_license(license: License | None) -> Markup | None:
    """A license in Markdown, None if it is unknown."""
    if license is None:
        return None
    ids = [license.id] if isinstance(license.id, str) else license.id
    words = license.name or " and ".join(ids)
    return link(words, license.link) if web_address(license.link) else code(words)
