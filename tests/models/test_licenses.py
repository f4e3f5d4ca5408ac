"""The licence of a checkpoint: from a folder's card, from the Hub's cache, or unknown."""

import json
import os
import shutil
import sys

import pytest
from huggingface_hub.constants import ENDPOINT

from smi_hf import load_teacher
from smi_hf.models.licenses import read_license

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MIT = {"id": "mit", "name": None, "link": None}


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
        ("---\nlicense: [mit, apache-2.0]\n---\n", {"id": ["mit", "apache-2.0"], "name": None, "link": None}),
        (
            "---\nlicense: other\nlicense_name: ours-1.0\nlicense_link: https://example.org/ours\n---\n",
            {"id": "other", "name": "ours-1.0", "link": "https://example.org/ours"},
        ),
        # Only in that folder: a link to it leads nowhere elsewhere.
        (
            "---\nlicense: other\nlicense_name: ours-1.0\nlicense_link: LICENSE\n---\n",
            {"id": "other", "name": "ours-1.0", "link": None},
        ),
        # No id of the Hub, which would refuse it.
        ("---\nlicense: Apache License 2.0\n---\n", {"id": "other", "name": "Apache License 2.0", "link": None}),
        ("---\nlicense: unknown\n---\n", None),
        ("---\ntags: [vit]\n---\n", None),
        ("# No metadata\n", None),
        ("---\nlicense: [mit\n---\n", None),
        ("---\n- mit\n---\n", None),
    ],
)
def test_a_folders_card_states_the_licence(folder, card, license):
    assert read_license(folder(card)) == license


def test_a_folder_without_a_card_has_no_known_licence(tmp_path):
    assert read_license(str(tmp_path)) is None


def test_a_card_in_the_hubs_cache_is_read_without_a_network(cached):
    cached("---\nlicense: other\nlicense_name: ours\nlicense_link: LICENSE\n---\n")
    link = f"{ENDPOINT}/someone/vit/blob/{COMMIT}/LICENSE"
    assert read_license("someone/vit", revision=COMMIT) == {"id": "other", "name": "ours", "link": link}


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
    assert float(seconds) < 60


def test_a_card_repeats_a_licence_only_if_all_that_it_is_made_from_shares_it():
    other = {"id": "other", "name": "ours", "link": None}
    assert license_metadata(MIT) == license_metadata(MIT, dict(MIT)) == {"license": "mit"}
    assert license_metadata(other) == {"license": "other", "license_name": "ours"}
    assert license_metadata(MIT, other) == license_metadata(MIT, None) == license_metadata(None) == {}
    assert describe_license({**other, "link": "https://example.org"}) == "[ours](https://example.org)"
    assert describe_license(MIT) == "`mit`"


def test_a_teachers_licence_is_in_its_reference(tiny_checkpoint, tmp_path):
    licensed = shutil.copytree(tiny_checkpoint, tmp_path / "licensed-vit")
    (licensed / "README.md").write_text("---\nlicense: mit\n---\n")
    reference = load_teacher(str(licensed)).reference()
    assert (reference["name"], reference["license"]) == ("licensed-vit", MIT)
    assert str(tmp_path) not in json.dumps(reference)
    assert load_teacher(str(tiny_checkpoint)).reference()["license"] is None
