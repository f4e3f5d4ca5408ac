"""The files of a folder that are published: inside it, read once, with the digest of what is sent."""

import hashlib
import os

import pytest

from smi_hf import UsageError
from smi_hf.hub import contents
from smi_hf.hub.contents import check_inside, read_file, sha256_of


@pytest.fixture
def folder(tmp_path):
    """With files at its root and below, and a secret beside it."""
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.bin").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def test_a_file_below_a_folder_is_inside_even_if_the_folder_is_a_link(folder, tmp_path):
    check_inside(folder, "data/a.bin")
    (tmp_path / "link").symlink_to(folder)
    check_inside(tmp_path / "link", "data/a.bin")
    assert sha256_of(read_file(tmp_path / "link", "data/a.bin")) == hashlib.sha256(b"0123456789").hexdigest()


@pytest.mark.parametrize("name", ["../secret", "link", "elsewhere/a.bin", "elsewhere/../../secret"])
def test_what_leads_out_of_a_folder_is_refused(folder, tmp_path, name):
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "elsewhere").symlink_to(folder / "data")
    with pytest.raises(UsageError, match="is a link, or lies behind one, and only files of the folder itself"):
        read_file(folder, name)


def test_what_is_no_regular_file_is_refused_and_not_opened(folder):
    os.mkfifo(folder / "pipe")
    for name in ("data", "pipe"):
        with pytest.raises(UsageError, match="is no regular file, and nothing else is published"):
            read_file(folder, name)


def test_a_file_that_is_gone_is_one_sentence(folder):
    with pytest.raises(UsageError, match="nothing cannot be read: "):
        read_file(folder, "nothing")


def test_a_file_that_becomes_a_link_after_it_was_looked_at_is_refused(folder, tmp_path, monkeypatch):
    def replace_by_link(*_):
        (folder / "data" / "a.bin").unlink()
        (folder / "data" / "a.bin").symlink_to(tmp_path / "secret")

    monkeypatch.setattr(contents, "check_inside", replace_by_link)
    with pytest.raises(UsageError, match=r"a\.bin cannot be read: "):
        read_file(folder, "data/a.bin")


def test_what_is_sent_of_a_small_file_is_what_was_digested(folder):
    file = read_file(folder, "data/a.bin")
    (folder / "data" / "a.bin").write_bytes(b"changed since")
    with file.as_file() as sent:
        assert hashlib.sha256(sent.read()).hexdigest() == sha256_of(file) == hashlib.sha256(b"0123456789").hexdigest()
    assert file.path_in_repo == "data/a.bin"


def test_a_large_file_is_not_held_in_memory(folder, monkeypatch):
    monkeypatch.setattr(contents, "_READ_AT_ONCE", 9)
    file = read_file(folder, "data/a.bin")
    assert not isinstance(file.path_or_fileobj, bytes)
    assert sha256_of(file) == hashlib.sha256(b"0123456789").hexdigest()
