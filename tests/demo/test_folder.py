"""A demonstration's folder: made again and again, and nobody else's file is lost."""

import pytest

from smi_hf import UsageError
from smi_hf.demo.folder import RECORD_FILE, DemoRecord, open_folder, step


def make(folder, name="int8"):
    open_folder(folder)
    with step(folder, name) as work:
        (work / "deep").mkdir(parents=True)
        (work / "deep" / "weights").write_text("ours")


def test_what_a_demonstration_wrote_is_replaced(tmp_path):
    make(tmp_path / "demo", "int8")
    make(tmp_path / "demo", "student")
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [RECORD_FILE, "student"]
    assert DemoRecord.load(tmp_path / "demo").files == ("student/deep/weights",)


@pytest.mark.parametrize("place", ["README.md", "int8/mine.txt", "int8/deep/mine.txt", "other/int8/x"])
def test_a_file_of_somebody_else_is_kept_and_named_and_so_is_ours(tmp_path, place):
    make(tmp_path / "demo")
    foreign = tmp_path / "demo" / place
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("mine")
    with pytest.raises(UsageError, match=f"holds {place}, which no demonstration wrote; nothing was changed"):
        open_folder(tmp_path / "demo")
    assert foreign.read_text() == "mine"
    assert (tmp_path / "demo" / "int8" / "deep" / "weights").read_text() == "ours"


def test_a_folder_without_a_record_is_left_as_it_is(tmp_path):
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "model.onnx").write_text("mine")
    with pytest.raises(UsageError, match=r"holds int8/model\.onnx, which no demonstration wrote"):
        open_folder(tmp_path)
    assert (tmp_path / "int8" / "model.onnx").read_text() == "mine"


def test_a_demonstration_that_was_cut_off_may_be_made_again(tmp_path):
    open_folder(tmp_path)

    def cut_off():
        with step(tmp_path, "int8") as work:
            work.mkdir()
            (work / "half").write_text("ours")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert DemoRecord.load(tmp_path).writing == "int8"
    make(tmp_path)
    assert not (tmp_path / "int8" / "half").exists()


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_text("mine")
    open_folder(tmp_path / "demo")
    with step(tmp_path / "demo", "int8") as work:
        work.symlink_to(tmp_path / "mine")
    open_folder(tmp_path / "demo")
    assert (tmp_path / "mine" / "photo.png").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        open_folder(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": 1, "files": [1]}', '{"schema_version": 9}'])
def test_a_record_that_is_none_makes_no_file_ours(tmp_path, text):
    (tmp_path / RECORD_FILE).write_text(text)
    with pytest.raises(UsageError):
        open_folder(tmp_path)
    assert (tmp_path / RECORD_FILE).read_text() == text
