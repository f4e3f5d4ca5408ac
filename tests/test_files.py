"""One writer at a time in a folder, folders that appear whole, and what the file system says in one sentence."""

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from smi_hf import RunError, UsageError
from smi_hf.files import (
    LOCK_FILE,
    contents,
    disk_errors,
    folder_made_whole,
    is_leftover,
    one_writer,
    remove_temporaries,
    replaced_atomically,
)

FORK = multiprocessing.get_context("fork")


def hold(folder, is_held):
    with one_writer(folder):
        is_held.set()
        time.sleep(60)


@pytest.fixture
def held(tmp_path):
    """A folder that another process writes to, and that process."""
    folder, is_held = tmp_path / "set", FORK.Event()
    process = FORK.Process(target=hold, args=(folder, is_held))
    process.start()
    assert is_held.wait(30)
    yield folder, process
    process.kill()
    process.join()


def test_a_second_writer_is_refused_at_once(held):
    folder, _ = held
    started = time.monotonic()
    message = f"another run is writing to output_dir {folder}; wait until it ends"
    with pytest.raises(UsageError, match=message), one_writer(folder):
        raise AssertionError("two writers")
    assert time.monotonic() - started < 5


def test_the_lock_of_a_process_that_is_killed_is_gone_with_it(held):
    folder, process = held
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (folder / LOCK_FILE).exists()
    assert contents(folder) == []
    with one_writer(folder):
        (folder / "file").touch()
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_path_through_a_link_is_the_same_folder(held, tmp_path):
    folder, _ = held
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UsageError, match="another run is writing"), one_writer(tmp_path / "link"):
        pass


def test_a_folder_that_was_made_for_nothing_is_removed_with_its_parents(tmp_path):
    with one_writer(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK_FILE).is_file()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with one_writer(tmp_path / "mine"):
        pass
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.ENOSPC, RunError, "no space left to write in .*set; make room and run the same command again"),
        (errno.EDQUOT, RunError, "no space left to write in"),
        (errno.EROFS, UsageError, "output_dir .*set cannot be written: .*; choose another folder"),
        (errno.EACCES, UsageError, "output_dir .*set cannot be written"),
    ],
)
def test_what_the_file_system_says_is_one_sentence(tmp_path, number, error, message):
    with pytest.raises(error, match=message), disk_errors(tmp_path / "set"):
        raise OSError(number, os.strerror(number), str(tmp_path / "set" / "file"))


def test_errors_of_other_files_are_left_as_they_are(tmp_path):
    with pytest.raises(PermissionError), disk_errors(tmp_path / "set"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/config")


@pytest.mark.parametrize("name", ["file", "file/below", "dangling", "x" * 300])
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be written"), one_writer(tmp_path / name):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_only_temporaries_of_our_own_are_removed(tmp_path):
    ours = [".train-0.parquet.4242.incomplete", ".smi.json.1.incomplete", LOCK_FILE]
    others = ["thesis.incomplete", ".hidden", ".notes.incomplete", "4242.incomplete", ".x.y4.incomplete"]
    for name in (*ours, *others):
        (tmp_path / name).touch()
    assert {path.name for path in tmp_path.iterdir() if is_leftover(path)} == set(ours)
    remove_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, LOCK_FILE}
    with pytest.raises(ZeroDivisionError), replaced_atomically(tmp_path / "new"):
        1 / 0  # noqa: B018
    assert not (tmp_path / "new").exists()


def make_slowly(folder, is_begun):
    with folder_made_whole(folder) as new:
        new.mkdir()
        (new / "weights").touch()
        is_begun.set()
        time.sleep(60)


def test_a_folder_that_is_being_made_is_not_disturbed_and_one_that_was_killed_is_made_again(tmp_path):
    folder, is_begun = tmp_path / "int8", FORK.Event()
    process = FORK.Process(target=make_slowly, args=(folder, is_begun))
    process.start()
    assert is_begun.wait(30)
    with pytest.raises(UsageError, match=f"another run is writing to output_dir {folder}"), folder_made_whole(folder):
        raise AssertionError("two writers")
    assert (tmp_path / ".int8.incomplete" / "int8" / "weights").exists()
    process.kill()
    process.join()
    with folder_made_whole(folder) as new:
        new.mkdir()
        (new / "config").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]
    assert [path.name for path in folder.iterdir()] == ["config"]


def test_a_strangers_folder_in_the_place_of_an_unfinished_one_is_left_alone(tmp_path):
    stranger = tmp_path / ".int8.incomplete" / "thesis.txt"
    stranger.parent.mkdir()
    stranger.write_text("years of work")
    with pytest.raises(UsageError, match=r"\.int8\.incomplete is in the way"), folder_made_whole(tmp_path / "int8"):
        pass
    assert stranger.read_text() == "years of work"
    assert [path.name for path in Path(stranger.parent).iterdir()] == ["thesis.txt"]
