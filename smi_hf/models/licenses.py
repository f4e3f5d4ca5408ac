"""The license of a checkpoint, where its card states one."""

import logging
import os
import re
from typing import Any
from urllib.parse import quote, urlsplit

import yaml
from huggingface_hub import metadata_load
from huggingface_hub.constants import ENDPOINT, REPOCARD_NAME

from smi_hf.models.beside import find_beside
from smi_hf.models.references import License

logger = logging.getLogger(__name__)

# https://huggingface.co/docs/hub/repositories-licenses; the Hub refuses a card with any other id.
HUB_LICENSES = frozenset(
    # One string: a list of as many lines would hide the code.
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2
    llama3 llama3.1 llama3.2 llama3.3 llama4 gemma fair-noncommercial-research-license other
    """.split()  # noqa: SIM905
)
_OTHER = "other"
_LONGEST_CARD = 1 << 20
_LONGEST_NAME = 100
_LONGEST_LINK = 300
_MOST_IDS = 10


def read_license(name_or_path: str, *, revision: str | None = None) -> License | None:
    """The license that a checkpoint's card (README.md) states; None if there is no card, or the Hub does not answer.

    A card is written by strangers and may hold anything: what is no short plain text is left out.

    Args:
        name_or_path: Hub id or folder.
        revision: commit on the Hub; without one, a Hub id is not looked up.
    """
    card = find_beside(name_or_path, REPOCARD_NAME, revision=revision, max_bytes=_LONGEST_CARD)
    if card is None:
        return None
    try:
        metadata = metadata_load(card)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # No YAML. A missing license must not stop the run.
        logger.debug("no license of %s could be read: %s", name_or_path, error)
        return None
    base = None if os.path.exists(name_or_path) else f"{ENDPOINT}/{name_or_path}/blob/{revision}"
    return _license_of(metadata or {}, base)


def _license_of(metadata: dict[str, Any], base: str | None) -> License | None:
    """The license in a card's YAML; links into the repository are made absolute from `base`, or dropped if None."""
    given = metadata.get("license")
    ids = [_plain(each, _LONGEST_NAME) for each in (given if isinstance(given, list) else [given]) if each]
    # One that cannot be read is one that cannot be repeated: then the whole is unknown.
    if not ids or None in ids or len(ids) > _MOST_IDS or ids == ["unknown"]:
        return None
    if all(each in HUB_LICENSES for each in ids) and ids != [_OTHER]:
        return License(ids[0] if len(ids) == 1 else ids)
    name = _plain(metadata.get("license_name"), _LONGEST_NAME)
    if name is None and ids != [_OTHER]:
        name = _plain(", ".join(ids), _LONGEST_NAME)
    return License(_OTHER, name, _link(metadata.get("license_link"), base))


def _plain(value: object, longest: int) -> str | None:
    """A short text of one line without control characters, None if it is anything else."""
    if not isinstance(value, str) or not value.strip() or len(value) > longest or not value.isprintable():
        return None
    return value.strip()


def _link(value: object, base: str | None) -> str | None:
    """A web address, None if it is anything else; a path in the repository is made absolute."""
    link = _plain(value, _LONGEST_LINK)
    if link is None:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if not parts.scheme and not parts.netloc:
        return f"{base}/{quote(link)}" if base and not link.startswith("/") else None
    # Nothing that would end a link in Markdown.
    is_web = parts.scheme in ("http", "https") and parts.netloc and not re.search(r"[\s<>()\[\]\"'`\\]", link)
    return link if is_web else None
