from dataclasses import dataclass

from smi_hf.reports.beside import read_beside


@dataclass(frozen=True)
class Figure:
    value: float


def test_a_file_is_read_as_far_as_it_is_shown(tmp_path):
    (tmp_path / "figure.json").write_text('{"value": 2, "more": [1]}')
    assert read_beside(tmp_path, "figure.json", Figure) == Figure(2.0)


def test_what_is_not_there_is_none_without_a_word(tmp_path, caplog):
    assert read_beside(tmp_path, "figure.json", Figure) is None
    assert not caplog.text


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "other.json").write_text('{"value": 2}')
    (tmp_path / "figure.json").symlink_to(tmp_path / "other.json")
    assert read_beside(tmp_path, "figure.json", Figure) is None


def test_what_is_too_large_is_not_read(tmp_path, caplog):
    (tmp_path / "figure.json").write_text('{"value": 2}' + " " * (5 << 20))
    assert read_beside(tmp_path, "figure.json", Figure) is None
    assert "figure.json is not shown: it is larger than" in caplog.text
