"""The JSON of one evaluation."""

import json
import os

import pytest

from smi_hf import UsageError
from smi_hf.evaluation.report import check_report_file, save_report
from smi_hf.evaluation.run import evaluate


@pytest.fixture
def save(images, make_predictor):
    evaluation = evaluate(make_predictor(), images, disable_tqdm=True)
    return lambda path: save_report(path, evaluation, images, model="tiny-vit")


def test_it_says_what_was_measured_and_on_what_without_a_path(save, tmp_path):
    save(tmp_path / "out.json")
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["model"] == "tiny-vit"
    assert report["images"] == {"dataset": "test.parquet", "type": "parquet", "split": "train", "num_images": 12}
    assert (report["top1"], report["top5"], report["num_images"], report["matched_by"]) == (1.0, 1.0, 12, "name")
    assert report["backend"] == "by hand"
    assert str(tmp_path) not in (tmp_path / "out.json").read_text()


def test_a_report_may_be_written_again_and_no_other_file(save, tmp_path):
    check_report_file(tmp_path / "out.json")
    assert not list(tmp_path.glob("*out*"))
    save(tmp_path / "out.json")
    check_report_file(tmp_path / "out.json")
    for number, content in enumerate(["{}", "[]", "mine", '{"top1": 1.0}', "[" * 100_000]):
        foreign = tmp_path / f"foreign{number}.json"
        foreign.write_text(content)
        with pytest.raises(UsageError, match=r"foreign\d\.json exists and is not a report of smi-hf evaluate"):
            check_report_file(foreign)
        assert foreign.read_text() == content


@pytest.mark.parametrize("name", ["", ".", "/dev/null", "folder", "link"])
def test_what_is_no_file_is_not_written(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    os.symlink("nowhere", "link")
    from pathlib import Path

    with pytest.raises(UsageError, match="exists and is not a report"):
        check_report_file(Path(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/out.json", "there is no folder .*missing; make it first"),
        ("x" * 300, "cannot be written: File name too long"),
        ("a\0b", "cannot be written: .*null"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_before_the_work(tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        check_report_file(tmp_path / name)
