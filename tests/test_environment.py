"""What is said of this machine, and what a missing extra is answered with."""

import re
import tomllib
from importlib.metadata import version

import pytest

from smi_hf import UsageError, environment
from smi_hf.environment import (
    CORE_PACKAGES,
    EXTRA_PURPOSE,
    EXTRAS,
    check_extra,
    dependency_lane,
    describe_device,
    describe_environment,
    image_processor_options,
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
        ("4.57.1", "onnx", 'this lacks optimum-onnx: pip install "smi-hf[onnx]"'),
        ("5.0.0", "onnx", "this lacks optimum-onnx (static int8 models for ONNX Runtime), which needs transformers 4"),
        ("5.0.0", "plots", 'this lacks matplotlib: pip install "smi-hf[plots]"'),
    ],
)
def test_a_missing_extra_is_answered_with_what_would_bring_it(installed, number, extra, message):
    installed(transformers=number, onnxruntime="1.20")
    with pytest.raises(UsageError, match=re.escape(message)):
        check_extra(extra, "this")


def test_an_extra_that_is_there_is_not_missed(installed):
    installed(transformers="4.57.1", optimum_onnx="0.1", onnxruntime="1.20")
    assert missing_packages("onnx") == []
    check_extra("onnx", "this")


def test_extras_are_those_of_the_package_and_each_has_a_purpose(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    assert EXTRAS.keys() == EXTRA_PURPOSE.keys() == declared.keys() - {"test"}
    for extra, packages in EXTRAS.items():
        # Extras of others are among the names: optimum-intel[openvino] brings openvino.
        required = {name for requirement in declared[extra] for name in re.findall(r"[a-z][\w-]*", requirement)}
        assert {name for name, _ in packages} <= required, extra


def test_a_device_is_described_without_a_name_of_the_machine():
    assert re.fullmatch(r"cpu, \d+ threads, \w+", describe_device("cpu"))
    assert describe_device("meta") == "meta"


def test_a_records_environment_has_the_packages_of_its_extra_besides():
    plain, more = describe_environment("cpu"), describe_environment("cpu", "quanto")
    assert more.packages.keys() - plain.packages.keys() == {"optimum-quanto"}
    assert set(CORE_PACKAGES) < plain.packages.keys()
    assert (plain.lane, plain.device) == (more.lane, more.device) == (dependency_lane(), describe_device("cpu"))
