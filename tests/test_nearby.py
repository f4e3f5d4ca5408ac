"""Paths that are not there, and what lies beside them."""

import pytest

from smi_hf.nearby import nearest_path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "out" / "deit-tiny").mkdir(parents=True)
    for name in ("photographs.parquet", "out/deit-tiny/config.json", ".hidden"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("photograph.parquet", "photographs.parquet"),
        ("./Photographs.parquet", "photographs.parquet"),
        ("photographs", "photographs.parquet"),
        ("out/deit-tny", "out/deit-tiny"),
        ("out/deittiny/config.json", "out/deit-tiny/config.json"),
        ("out/deittiny/none.json", "out/deit-tiny"),
        ("outt/deit-tiny", "out/deit-tiny"),
        (".hiden", ".hidden"),
    ],
)
def test_the_nearest_name_in_the_folder_is_suggested(folder, given, meant):
    assert nearest_path(given) == f" (did you mean {meant!r}?)"
    absolute = nearest_path(folder / given)
    assert absolute == f" (did you mean {str(folder / meant)!r}?)"


@pytest.mark.parametrize(
    "given",
    [
        "out/deit-tiny",
        "nothing-like-it",
        "hidden",
        "",
        "facebook/deit-tiny",
        "photographs.parquet/x",
        "x\0",
        "x" * 300,
    ],
)
def test_nothing_is_suggested_where_nothing_is_near(folder, given):
    assert nearest_path(given) == ""
