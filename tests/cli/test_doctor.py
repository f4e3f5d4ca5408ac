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


def test_doctor_names_the_lane_or_the_pip_command_of_what_is_missing(monkeypatch):
    from smi_hf import environment
    from smi_hf.cli import doctor
    from smi_hf.environment import Extra

    monkeypatch.setattr(doctor, "missing_packages", lambda extra: ["something"])
    monkeypatch.setattr(environment, "dependency_lane", lambda: "latest")
    monkeypatch.setitem(environment.EXTRAS, "old", Extra("what it is for", {"full": ("something",)}))
    works, note = doctor._extra("old")
    assert not works
    assert "(full): lacks something; use the full lane, transformers 4 (constraints-full.txt); this is latest" in note
    works, note = doctor._extra("plots")
    assert not works
    assert '(full and latest): lacks something; pip install "smi-hf[plots]"' in note


def test_doctor_is_readable(smi):
    code, out, _ = smi("doctor")
    assert code == 0
    assert "Lane:" in out and "extra quanto" in out
