"""A sparse dataset on the Hub; what the Hub answers is tested with the reader, in test_reader.py."""

import pytest

from smi_hf import UsageError
from smi_hf.data.remote import record_from_hub


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    """No Hub, and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_where_there_is_no_hub_it_is_asked_once_and_the_folder_that_was_meant_is_named(
    unreachable, tmp_path, monkeypatch, caplog, capsys
):
    (tmp_path / "out" / "deit-tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refusal:
        record_from_hub("out/deit-tny", None)
    assert str(refusal.value) == (
        "dataset 'out/deit-tny' is not a folder here (did you mean 'out/deit-tiny'?), not in the local cache, and the "
        "Hub could not be reached; check the name and the network"
    )
    # Whoever asks again says so, each time.
    assert "etry" not in caplog.text + capsys.readouterr().err
