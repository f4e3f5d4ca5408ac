"""`smi-hf demo --with_hub`: everything that the demonstration makes is published, on this machine alone."""

import pytest

from smi_hf.cli.main import main
from smi_hf.demo.folder import open_folder
from smi_hf.environment import missing_packages

SMALL = ["--num_images", "4", "--num_steps", "4", "--num_recovery_steps", "2"]


@pytest.mark.usefixtures("own_precision")
def test_the_demonstration_publishes_what_it_made_and_loads_it_back(hub, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("smi_hf.demo.run.NUM_HELD_OUT_IMAGES", 40)
    for name in ("HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.setenv(name, hub.environment[name])
    assert main(["demo", *SMALL, "--output_dir", str(tmp_path / "demo"), "--with_hub"]) == 0
    shown = capsys.readouterr().out
    expected = {("dataset", "me/digits-smi"), ("dataset", "me/digits-dense")}
    expected.add(("model", "me/digits-pruned"))
    if not missing_packages("onnx"):
        expected.add(("model", "me/digits-int8"))
    if not missing_packages("plots"):
        expected.add(("model", "me/digits-recovered"))
    assert set(hub.state.repositories) == expected
    assert "load_dataset('me/digits-smi') gives the same 4 rows" in shown
    assert (tmp_path / "demo" / "report.html").is_file() and "report.html: open it" in " ".join(shown.split())
    assert not list((tmp_path / "demo").glob("*/report.html"))
    # Everything in the folder is the demonstration's own, so that the next one may replace it.
    open_folder(tmp_path / "demo")
    assert not hub.strangers
