"""What is said of this machine, and what a missing extra is answered with."""

import re
import tomllib
from importlib.metadata import version

import pytest

from smi_hf import UsageError, environment
from smi_hf.environment import (
    CORE_PACKAGES,
    EXTRAS,
    LANES,
    Extra,
    check_extra,
    dependency_lane,
    describe_device,
    describe_environment,
    how_to_install,
    image_processor_options,
    install_command,
    missing_packages,
    package_versions,
)


@pytest.fixture
def installed(monkeypatch):
    """Has only these distributions installed from now on."""

    def install(**versions):
        names = {name.replace("_", "-"): number for name, number in versions.items()}
        monkeypatch.setattr(environment, "package_version", names.get)

    return install


@pytest.mark.parametrize(
    ("number", "lane"), [("4.57.1", "full"), ("5.0.0", "latest"), ("5.1.0.dev0", "latest"), ("10.0", "latest")]
)
def test_the_lane_is_that_of_transformers(installed, number, lane):
    installed(transformers=number)
    assert dependency_lane() == lane
    # An option of transformers 4 alone.
    assert ("use_fast" in image_processor_options()) == (lane == "full")


def test_a_version_is_that_of_the_distribution_and_none_of_what_is_absent():
    found = package_versions(("torch", "no-such-thing"))
    assert (found["torch"], found["no-such-thing"]) == (version("torch"), None)
    assert list(package_versions())[2:] == list(CORE_PACKAGES)


@pytest.mark.parametrize(
    ("number", "extra", "message"),
    [
        ("4.57.1", "onnx", "this needs optimum-onnx, onnx (static int8 models for ONNX Runtime): pip install"),
        ("4.57.1", "onnx", 'pip install "smi-hf[onnx-full] @ git+https://github.com/smi-hf/smi_hf"'),
        ("5.0.0", "onnx", "this needs onnxscript, onnx (static int8 models for ONNX Runtime): pip install"),
        ("5.0.0", "onnx", 'pip install "smi-hf[onnx] @ git+https://github.com/smi-hf/smi_hf"'),
        (
            "5.0.0",
            "old",
            'in a new virtual environment: pip install "smi-hf[old] @ git+https://github.com/smi-hf/smi_hf" "transf',
        ),
        (
            "4.57.1",
            "torch",
            "this needs transformers 5, torchao (int8 programs of torch.export, and integer weights, by torchao): the",
        ),
        (
            "5.0.0",
            "torch",
            'this needs torchao (int8 programs of torch.export, and integer weights, by torchao): pip install "smi-hf',
        ),
        (
            "5.0.0",
            "plots",
            'this needs matplotlib (charts as PNG): pip install "smi-hf[plots] @ git+https://github.com/smi-hf/smi_hf"',
        ),
    ],
)
def test_a_missing_extra_is_answered_with_what_would_bring_it(installed, monkeypatch, number, extra, message):
    monkeypatch.setitem(EXTRAS, "old", Extra("what it is for", {"full": ("dusty",)}))
    installed(transformers=number, onnxruntime="1.20")
    with pytest.raises(UsageError, match=re.escape(message)):
        check_extra(extra, "this")


def test_an_extra_that_is_there_is_not_missed(installed):
    for packages in (
        {"transformers": "4.57.1", "optimum_onnx": "0.1", "onnx": "1.20", "onnxruntime": "1.20"},
        {"transformers": "5.23.0", "onnxscript": "0.7", "onnx": "1.20", "onnxruntime": "1.21"},
    ):
        installed(**packages)
        assert missing_packages("onnx") == []
        check_extra("onnx", "this")


def test_extras_are_those_of_the_package_in_every_lane(repository, installed):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    asked_for = {"test"}
    for lane, number in (("full", "4.57.1"), ("latest", "5.23.0")):
        installed(transformers=number)
        assert dependency_lane() == lane
        for extra in EXTRAS:
            if lane not in EXTRAS[extra].packages:
                continue
            name = re.fullmatch(r'pip install "smi-hf\[(.*)\] @ git\+\S+"', how_to_install(extra))[1]
            asked_for.add(name)
            # Extras of others are among the names: optimum-intel[openvino] brings openvino.
            required = {part for requirement in declared[name] for part in re.findall(r"[a-z][\w-]*", requirement)}
            assert set(missing_packages(extra)) <= required, extra
    assert asked_for == declared.keys()
    assert set(LANES) >= {lane for extra in EXTRAS.values() for lane in extra.packages}


def test_a_device_is_described_without_a_name_of_the_machine():
    assert re.fullmatch(r"cpu, \d+ threads, \w+", describe_device("cpu"))
    assert describe_device("meta") == "meta"


def test_a_records_environment_has_the_packages_of_its_extra_besides():
    plain, more = describe_environment("cpu"), describe_environment("cpu", "quanto")
    assert more.packages.keys() - plain.packages.keys() == {"optimum-quanto"}
    assert set(CORE_PACKAGES) < plain.packages.keys()
    assert (plain.lane, plain.device) == (more.lane, more.device) == (dependency_lane(), describe_device("cpu"))


def test_what_another_lane_alone_has_is_missed_though_its_packages_are_here(installed):
    installed(transformers="4.57.1", torchao="0.18")
    assert missing_packages("torch") == ["transformers 5"]
    with pytest.raises(UsageError, match=r"this needs transformers 5 .*: the latest lane has it, transformers 5, and"):
        check_extra("torch", "this")


def test_extras_of_one_lane_are_one_command_that_the_readme_has(installed, repository):
    installed(transformers="5.23.0")
    assert install_command("onnx") in (repository / "README.md").read_text()
    assert install_command("onnx", "plots").startswith('pip install "smi-hf[onnx,plots] @ git+https://')
    installed(transformers="4.57.1")
    assert install_command("onnx", "quanto").startswith('pip install "smi-hf[onnx-full,quanto] @ git+https://')
    assert install_command("torch", "executorch").endswith('smi_hf" "transformers>=5,<6"')
    with pytest.raises(AssertionError, match="are of the lanes"):
        install_command("torch", "plots")
