"""The license of a checkpoint, where its card states one."""

import logging
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import hf_hub_download, metadata_load, try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT, REPOCARD_NAME
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

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
_SECONDS = 5


def read_license(name_or_path: str, *, revision: str | None = None) -> License | None:
    """The licence that a checkpoint's card (README.md) states; None if there is no card, or the Hub does not answer.

    Args:
        name_or_path: Hub id or folder.
        revision: commit on the Hub; without one, a Hub id is not looked up.
    """
    folder = Path(name_or_path)
    is_local = folder.exists()
    if not is_local and revision is None:
        return None
    try:
        card = folder / REPOCARD_NAME if is_local else _card_from_hub(name_or_path, revision)
        metadata = metadata_load(card) if card is not None and Path(card).is_file() else None
    except (HfHubHTTPError, HFValidationError, OSError, ValueError, yaml.YAMLError) as error:
        # HfHubHTTPError and OSError: no network, no such file. A licence is worth no failure.
        logger.debug("no licence of %s could be read: %s", name_or_path, error)
        return None
    base = None if is_local else f"{ENDPOINT}/{name_or_path}/blob/{revision}"
    return _license_of(metadata or {}, base)


def _card_from_hub(repo: str, revision: str) -> str | None:
    cached = try_to_load_from_cache(repo, REPOCARD_NAME, revision=revision)
    if isinstance(cached, str):
        return cached
    # Not None: it is known that the repository has no card.
    return hf_hub_download(repo, REPOCARD_NAME, revision=revision, etag_timeout=_SECONDS) if cached is None else None


def _license_of(metadata: dict[str, Any], base: str | None) -> License | None:
    """The licence in a card's YAML; links into the repository are made absolute from `base`, or dropped if None."""
    given = metadata.get("license")
    ids = [str(each) for each in (given if isinstance(given, list) else [given]) if each]
    if not ids or ids == ["unknown"]:
        return None
    if all(each in HUB_LICENSES for each in ids) and ids != [_OTHER]:
        return License(ids[0] if len(ids) == 1 else ids)
    name = metadata.get("license_name") or (None if ids == [_OTHER] else ", ".join(ids))
    link = metadata.get("license_link")
    if link and "://" not in str(link):
        link = f"{base}/{link}" if base else None
    return License(_OTHER, name and str(name), link and str(link))
