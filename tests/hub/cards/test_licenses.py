"""Licenses on cards: repeated where all agree, told where they do not, and never more than text."""

import pytest

from smi_hf.hub.cards.licenses import describe_license, license_metadata
from smi_hf.models import License

MIT = License("mit")


def test_a_card_repeats_a_license_only_if_all_that_it_is_made_from_shares_it():
    other = License("other", "ours")
    assert license_metadata(MIT) == license_metadata(MIT, License("mit")) == {"license": "mit"}
    assert license_metadata(other) == {"license": "other", "license_name": "ours"}
    assert license_metadata(License(["mit", "apache-2.0"])) == {"license": ["mit", "apache-2.0"]}
    assert license_metadata(MIT, other) == license_metadata(MIT, None) == license_metadata(None) == {}
    assert license_metadata() == {}


def test_a_license_is_described_by_its_name_and_link():
    assert describe_license(License("other", "ours", "https://example.org/a")) == "[ours](https://example.org/a)"
    assert describe_license(MIT) == "`mit`"
    assert describe_license(License(["mit", "apache-2.0"])) == "`mit and apache-2.0`"
    assert describe_license(None) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a](http://evil.example)", r"[a\](http://evil.example)](https://example.org)"),
        ("a\n\n# b", "[a # b](https://example.org)"),
        ("<img src=x>", r"[\<img src=x\>](https://example.org)"),
        ("`a`", r"[\`a\`](https://example.org)"),
    ],
)
def test_a_name_does_not_leave_its_place(name, shown):
    assert describe_license(License("other", name, "https://example.org")) == shown
    assert "\n" not in license_metadata(License("other", name))["license_name"]


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "LICENSE", "//x", "https://", "", "http://["]
)
def test_an_address_that_is_not_of_the_web_is_no_link(address):
    license = License("other", "ours", address)
    assert describe_license(license) == "`ours`"
    assert "license_link" not in license_metadata(license)


def test_an_address_does_not_end_its_link_early():
    license = License("other", "ours", "https://example.org/a) [b](javascript:c 'd\n\"<e>")
    assert describe_license(license) == "[ours](https://example.org/a%29%20%5Bb%5D%28javascript:c%20'd%20%22%3Ce%3E)"
