"""Small files beside a checkpoint: in its folder, or in its repository on the Hub."""

import pytest
from huggingface_hub import HfApi

from smi_hf.models.beside import find_beside

SMALL = {"max_bytes": 10}


@pytest.fixture
def commit(hub):
    """A repository `me/vit` with a small and a large file."""
    api = HfApi()
    api.create_repo("me/vit")
    for name, content in (("note.json", b"{}"), ("large.json", b"x" * 11)):
        api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="me/vit")
    return api.model_info("me/vit").sha


def test_a_folders_file_is_found_unless_it_is_missing_or_large(tmp_path):
    (tmp_path / "note.json").write_text("{}")
    (tmp_path / "large.json").write_text("x" * 11)
    assert find_beside(str(tmp_path), "note.json", revision=None, **SMALL) == tmp_path / "note.json"
    for name in ("large.json", "other.json"):
        assert find_beside(str(tmp_path), name, revision=None, **SMALL) is None


def test_a_repositorys_file_is_fetched_once_and_lies_beside_what_else_was(commit):
    path = find_beside("me/vit", "note.json", revision=commit, **SMALL)
    assert path.read_bytes() == b"{}" and path.parent.name == commit
    assert find_beside("me/vit", "note.json", revision=commit, **SMALL) == path


def test_what_is_large_or_missing_or_of_no_revision_is_not_fetched(commit):
    for name, revision in (("large.json", commit), ("other.json", commit), ("note.json", None)):
        assert find_beside("me/vit", name, revision=revision, **SMALL) is None
    assert find_beside("me/none", "note.json", revision=commit, **SMALL) is None
