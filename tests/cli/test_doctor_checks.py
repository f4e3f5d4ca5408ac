"""The commands that bring what is missing, as a shell takes them."""

import shlex

from smi_hf import environment
from smi_hf.cli import doctor_checks
from smi_hf.cli.doctor_checks import LOG_IN, find_bf16, find_compiler, fixes
from smi_hf.environment import install_command


def test_what_is_missing_comes_by_one_command_a_lane(monkeypatch):
    monkeypatch.setattr(environment, "dependency_lane", lambda: "full")
    monkeypatch.setattr(doctor_checks, "dependency_lane", lambda: "full")
    monkeypatch.setattr(doctor_checks, "find_compiler", lambda: (False, ""))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    lacking = {"onnx", "plots", "torch", "executorch"}
    monkeypatch.setattr(doctor_checks, "missing_packages", lambda extra: ["something"] if extra in lacking else [])
    lines = fixes()
    commands = [line for line in lines if not line.startswith("#")]
    assert commands == [
        install_command("onnx", "plots"),
        "python -m venv .venv-latest",
        f".venv-latest/bin/{install_command('torch', 'executorch')}",
        LOG_IN,
    ]
    assert shlex.split(commands[0])[2].startswith("smi-hf[onnx-full,plots] @ git+")
    assert shlex.split(commands[2])[2:][1] == "transformers>=5,<6"
    assert "# plots: charts as PNG" in lines
    assert any("install g++ or clang++" in line for line in lines)


def test_nothing_is_to_be_done_where_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(doctor_checks, "find_compiler", lambda: (True, "with g++"))
    monkeypatch.setattr(doctor_checks, "missing_packages", lambda extra: [])
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
    assert fixes() == []


def test_a_check_is_an_answer_and_its_reason(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert find_compiler() == (False, "needs a C++ compiler (g++ or clang++) on the CPU")
    monkeypatch.setattr("shutil.which", lambda name: name if name == "clang++" else None)
    monkeypatch.delenv("CXX", raising=False)
    assert find_compiler() == (True, "with clang++")
    works, reason = find_bf16()
    assert works and "on the CPU" in reason
