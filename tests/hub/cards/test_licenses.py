"""Licenses on cards."""

from smi_hf.hub.cards.licenses import describe_license, license_metadata
from smi_hf.models import License


def test_a_card_repeats_a_license_only_if_all_that_it_is_made_from_shares_it():
    mit, other = License("mit"), License("other", "ours")
    assert license_metadata(mit) == license_metadata(mit, License("mit")) == {"license": "mit"}
    assert license_metadata(other) == {"license": "other", "license_name": "ours"}
    assert license_metadata(mit, other) == license_metadata(mit, None) == license_metadata(None) == {}
    assert describe_license(License("other", "ours", "https://example.org")) == "[ours](https://example.org)"
    assert describe_license(mit) == "`mit`"
