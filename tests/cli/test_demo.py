"""`smi-hf demo`: what it refuses before it makes anything."""

import pytest

from smi_hf.cli.main import main


@pytest.mark.parametrize("endpoint", [None, "https://huggingface.co"])
def test_it_does_not_publish_for_the_world(endpoint, monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    if endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert main(["demo", "--with_hub", "--output_dir", str(tmp_path / "demo")]) == 2
    assert "with_hub publishes on a Hub on this machine alone" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
