"""What records call a checkpoint."""

import pytest

from smi_hf.models.references import is_local, recorded_name


@pytest.mark.parametrize("name", ["/a/vit", "./vit", "../vit", "~/vit", "out/runs/vit"])
def test_a_path_is_local_and_recorded_by_its_last_part(name):
    assert is_local(name)
    assert recorded_name(name) == "vit"


@pytest.mark.parametrize("name", ["vit", "me/vit", "x" * 300, "a\0b"])
def test_a_name_that_is_nothing_here_is_the_hubs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert not is_local(name)
    assert recorded_name(name) == name


def test_a_folder_here_goes_before_the_hub(tmp_path, monkeypatch):
    (tmp_path / "me" / "vit").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert is_local("me/vit")
    assert recorded_name("me/vit") == "vit"
