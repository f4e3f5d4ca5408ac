from smi_hf.data.report_file import MARK, REPORT_FILE, is_report, remove_report


def test_a_report_is_known_by_its_head(tmp_path):
    path = tmp_path / REPORT_FILE
    assert not is_report(path)
    path.write_text(f"<!doctype html>{MARK}")
    assert is_report(path)
    path.write_text(" " * 2000 + MARK)
    assert not is_report(path)


def test_only_a_report_is_removed(tmp_path):
    path = tmp_path / REPORT_FILE
    path.write_text("mine")
    remove_report(tmp_path)
    assert path.exists()
    path.write_text(MARK)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / REPORT_FILE).symlink_to(path)
    remove_report(tmp_path / "link")
    assert (tmp_path / "link" / REPORT_FILE).is_symlink()
    remove_report(tmp_path)
    assert not path.exists()
