"""The log of a command: a file that is there from the first line on, and few of them."""

import logging
import sys
from pathlib import Path

import pytest

from smi_hf.cli.log_file import LogFile
from smi_hf.environment import CACHE_VARIABLE


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_tells_ours_from_what_others_wrote(cache):
    log = LogFile.open(["quantize", "--seed", "1"])
    assert log.is_empty and "quantize --seed 1" in log.path.read_text()
    with log.filled():
        logging.getLogger("smi_hf.somewhere").warning("ours: ä")
        assert not log.is_empty and not log.has_others
        logging.getLogger("elsewhere").warning("theirs")
    assert log.has_others and "theirs" in log.path.read_text()


def test_the_last_ones_are_kept(cache):
    (cache / "logs").mkdir(parents=True)
    for number in range(30):
        (cache / "logs" / f"20000101-0000{number:02}-1.log").write_text("")
    log = LogFile.open([])
    kept = sorted(path.name for path in (cache / "logs").iterdir())
    assert len(kept) == 20 and log.path.name == kept[-1] and kept[0] == "20000101-000011-1.log"


def test_where_nothing_can_be_written_there_is_none(cache):
    cache.write_text("a file in the way")
    assert LogFile.open([]) is None


def test_standard_error_goes_there_on_every_floor(cache, run_command):
    code = """
import os
from smi_hf.cli.log_file import LogFile, stderr_into
log = LogFile.open([])
with stderr_into(log) as screen:
    os.write(2, b"a library in C\\n")
    print("what a user is to see", file=screen)
os.write(2, b"afterwards\\n")
print(log.has_others, log.path)
"""
    done = run_command(sys.executable, "-c", code)
    assert done.stderr == "what a user is to see\nafterwards\n"
    has_others, path = done.stdout.split()
    assert has_others == "True" and Path(path).read_text().endswith("a library in C\n")


def test_tokens_of_the_command_line_are_not_written_down(cache):
    log = LogFile.open(["distill", "--hub_token", "hf_secret", "--push_to_hub_token=hf_other", "--teacher", "me/vit"])
    head = log.path.read_text()
    assert "hf_" not in head
    assert "distill --hub_token ... --push_to_hub_token=... --teacher me/vit" in head
