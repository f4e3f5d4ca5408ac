"""`smi-hf doctor`: what it finds, as JSON and for people."""

import json


def test_doctor_reports_lane_versions_and_extras_as_json(smi):
    code, out, _ = smi("doctor", "--json")
    findings = json.loads(out)
    assert code == 0
    assert findings["lane"] in ("full", "latest")
    assert findings["packages"]["torch"]
    assert findings["checks"]["extra quanto"]["works"]
    assert findings["checks"]["extra onnx"]["works"]
    assert "for ONNX Runtime (full and latest): " in findings["checks"]["extra onnx"]["note"]
    assert "vit" in findings["model_families"]


def test_what_is_missing_is_named_and_how_it_comes_is_said_by_fix(monkeypatch, smi):
    from smi_hf.cli import doctor

    monkeypatch.setattr(doctor, "missing_packages", lambda extra: ["something"])
    assert doctor._extra("plots") == (False, "charts as PNG (full and latest): lacks something")
    monkeypatch.setattr(doctor, "fixes", lambda: ["pip install this"])
    assert "smi-hf doctor --fix" in smi("doctor").out
    code, out, _ = smi("doctor", "--fix")
    assert (code, out) == (0, "pip install this\n")
    monkeypatch.setattr(doctor, "fixes", list)
    assert "--fix" not in smi("doctor").out
    assert smi("doctor", "--fix").out == "# Nothing is missing.\n"


def test_findings_and_fixes_are_asked_for_one_at_a_time(smi):
    code, _, err = smi("doctor", "--json", "--fix")
    assert code == 2
    assert "json prints what was found and fix what to do about it; give one of them" in err


def test_doctor_is_readable(smi):
    code, out, _ = smi("doctor")
    assert code == 0
    assert "Lane:" in out and "extra quanto" in out
