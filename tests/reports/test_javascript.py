from smi_hf.environment import cache_folder
from smi_hf.reports.javascript import vega_bundle


def test_the_library_is_one_script_that_no_page_ends_and_is_kept(monkeypatch, tmp_path):
    script = vega_bundle()
    assert "window.vegaEmbed" in script and "</script" not in script and "<!--" not in script
    (kept,) = (cache_folder() / "javascript").glob("*.js")
    assert kept.read_text() == script
    monkeypatch.setenv("SMI_HF_CACHE", str(tmp_path))
    (tmp_path / "javascript").mkdir()
    (tmp_path / "javascript" / kept.name).write_text("kept")
    assert vega_bundle() == "kept"


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SMI_HF_CACHE", str(tmp_path / "file" / "cache"))
    assert "window.vegaEmbed" in vega_bundle()
