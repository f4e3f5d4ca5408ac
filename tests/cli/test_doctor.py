"""`smi-hf doctor`: what it finds, as JSON and for people."""

import json


def test_doctor_reports_lane_versions_and_extras_as_json(smi):
    code, out, _ = smi("doctor", "--json")
    findings = json.loads(out)
    assert code == 0
    assert findings["lane"] in ("full", "latest")
    assert findings["packages"]["torch"]
    assert findings["checks"]["extra quanto"]["works"]
    assert findings["checks"]["extra onnx"]["works"] == (findings["lane"] == "full")
    assert "vit" in findings["model_families"]


def test_doctor_names_the_lane_or_the_pip_command_of_what_is_missing(monkeypatch):
    from smi_hf.cli import doctor

    monkeypatch.setattr(doctor, "missing_packages", lambda extra: ["something"])
    works, note = doctor._extra("onnx", "latest")
    assert not works
    assert "needs the full lane (transformers 4.57), this is latest" in note
    works, note = doctor._extra("plots", "latest")
    assert not works
    assert 'pip install "smi-hf[plots]" (lacks something)' in note


def test_doctor_is_readable(smi):
    code, out, _ = smi("doctor")
    assert code == 0
    assert "Lane:" in out and "extra quanto" in out
