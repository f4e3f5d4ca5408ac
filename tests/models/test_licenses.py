"""The license of a checkpoint: from a folder's card, from the Hub's cache, or unknown."""

import os
import shutil
import sys

import pytest
from huggingface_hub.constants import ENDPOINT

from smi_hf import load_teacher
from smi_hf.models import License
from smi_hf.models.licenses import read_license

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MIT = License("mit")


@pytest.fixture
def folder(tmp_path):
    def write(card):
        (tmp_path / "README.md").write_text(card)
        return str(tmp_path)

    return write


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A Hub cache that holds the card of `someone/vit` at COMMIT, or knows that it has none."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--someone--vit"

    def write(card):
        folder = repo / ("snapshots" if card is not None else ".no_exist") / COMMIT
        folder.mkdir(parents=True)
        (repo / "snapshots").mkdir(exist_ok=True)
        (folder / "README.md").write_text(card or "")

    return write


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlicense: mit\n---\n# A model\n", MIT),
        ("---\nlicense:\n- mit\n---\n", MIT),
        ("---\nlicense: [mit, apache-2.0]\n---\n", License(["mit", "apache-2.0"])),
        (
            "---\nlicense: other\nlicense_name: ours-1.0\nlicense_link: https://example.org/ours\n---\n",
            License("other", "ours-1.0", "https://example.org/ours"),
        ),
        # Only in that folder: a link to it leads nowhere elsewhere.
        (
            "---\nlicense: other\nlicense_name: ours-1.0\nlicense_link: LICENSE\n---\n",
            License("other", "ours-1.0"),
        ),
        # No id of the Hub, which would refuse it.
        ("---\nlicense: Apache License 2.0\n---\n", License("other", "Apache License 2.0")),
        ("---\nlicense: unknown\n---\n", None),
        ("---\ntags: [vit]\n---\n", None),
        ("# No metadata\n", None),
        ("---\nlicense: [mit\n---\n", None),
        ("---\n- mit\n---\n", None),
    ],
)
def test_a_folders_card_states_the_license(folder, card, license):
    assert read_license(folder(card)) == license


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("license: 2.0", None),
        ("license: {a: b}", None),
        ("license: [mit, {a: b}]", None),
        ("license: true", None),
        ('license: "mit\\nseparate: line"', None),
        ('license: "\\e[31mred"', None),
        ("license: " + "x" * 101, None),
        ("license: [" + "mit, " * 11 + "]", None),
        ("license: other\nlicense_name: {a: b}\nlicense_link: [1]", License("other")),
        ('license: other\nlicense_name: "two\\nlines"', License("other")),
        ("license: other\nlicense_name: " + "x" * 101, License("other")),
        ("license: other\nlicense_link: javascript:alert(1)", License("other")),
        ("license: other\nlicense_link: ftp://example.org/ours", License("other")),
        ("license: other\nlicense_link: file:///etc/passwd", License("other")),
        ("license: other\nlicense_link: 'https://example.org/a) [b](http://evil.org'", License("other")),
        ("license: other\nlicense_link: 'https://[broken'", License("other")),
        ("license: other\nlicense_link: //example.org/ours", License("other")),
        ("license: other\nlicense_link: http://example.org/" + "x" * 300, License("other")),
        ("license: " + "[" * 2000, None),
    ],
)
def test_of_a_strangers_card_only_short_plain_text_and_web_addresses_are_taken(folder, card, license):
    assert read_license(folder(f"---\n{card}\n---\n")) == license


def test_a_card_of_unreasonable_length_is_not_read(folder):
    assert read_license(folder("---\nlicense: mit\n---\n" + "x" * 1_100_000)) is None


def test_a_link_into_a_repository_cannot_end_the_markdown_that_it_stands_in(cached):
    cached("---\nlicense: other\nlicense_link: 'a) [b](c'\n---\n")
    link = read_license("someone/vit", revision=COMMIT).link
    assert link == f"{ENDPOINT}/someone/vit/blob/{COMMIT}/a%29%20%5Bb%5D%28c"


def test_a_folder_without_a_card_has_no_known_license(tmp_path):
    assert read_license(str(tmp_path)) is None


def test_a_card_in_the_hubs_cache_is_read_without_a_network(cached):
    cached("---\nlicense: other\nlicense_name: ours\nlicense_link: LICENSE\n---\n")
    link = f"{ENDPOINT}/someone/vit/blob/{COMMIT}/LICENSE"
    assert read_license("someone/vit", revision=COMMIT) == License("other", "ours", link)


def test_what_is_neither_cached_nor_reachable_is_unknown_and_no_error(cached):
    assert read_license("someone/vit", revision=COMMIT) is None
    cached(None)
    assert read_license("someone/vit", revision=COMMIT) is None
    assert read_license("not a repository/at all", revision=COMMIT) is None


def test_an_unreachable_hub_costs_no_error_and_little_time(run_command, tmp_path):
    """Not offline mode, but no network: port 9 refuses."""
    code = (
        "import time\nfrom smi_hf.models.licenses import read_license\nstarted = time.perf_counter()\n"
        f"print(read_license('someone/vit', revision='{COMMIT}'), time.perf_counter() - started)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    answer = run_command(sys.executable, "-c", code, env=environment)
    assert answer.returncode == 0, answer.stderr
    license, seconds = answer.stdout.split()
    assert license == "None"
    # Once, without the retries of huggingface_hub, which take 24 s.
    assert float(seconds) < 10
    assert "Retry" not in answer.stderr


def test_a_teachers_license_is_in_its_reference(tiny_checkpoint, tmp_path):
    licensed = shutil.copytree(tiny_checkpoint, tmp_path / "licensed-vit")
    (licensed / "README.md").write_text("---\nlicense: mit\n---\n")
    reference = load_teacher(str(licensed)).reference()
    assert (reference.name, reference.license) == ("licensed-vit", MIT)
    assert str(tmp_path) not in str(reference)
    assert load_teacher(str(tiny_checkpoint)).reference().license is None
