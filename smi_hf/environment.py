"""What this machine has: package versions, dependency lane, extras, devices, and where smi_hf keeps what is its own.

The one module that compares versions.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from smi_hf.errors import UsageError
from smi_hf.json_record import checked

CORE_PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "huggingface_hub",
    "optimum",
    "evaluate",
    "safetensors",
    "pillow",
)
# Names the folder of everything that smi_hf keeps for itself.
CACHE_VARIABLE = "SMI_HF_CACHE"
LANES = {"full": "transformers 4", "latest": "transformers 5"}
# No package index has smi-hf.
SOURCE = "git+https://github.com/smi-hf/smi_hf"


@dataclass(frozen=True)
class Extra:
    """What an extra of smi-hf is for and what it brings.

    Args:
        purpose: in words.
        packages: distributions by dependency lane. A lane that is absent cannot have the extra.
    """

    purpose: str
    packages: Mapping[str, tuple[str, ...]]

    @classmethod
    def of_both_lanes(cls, purpose: str, *packages: str) -> "Extra":
        """An extra that brings the same to either lane."""
        return cls(purpose, dict.fromkeys(LANES, packages))


EXTRAS: dict[str, Extra] = {
    "onnx": Extra(
        "static int8 models for ONNX Runtime",
        {"full": ("optimum-onnx", "onnx", "onnxruntime"), "latest": ("onnxscript", "onnx", "onnxruntime")},
    ),
    "openvino": Extra(
        "static int8 models for OpenVINO",
        {"full": ("optimum-intel", "openvino", "nncf"), "latest": ("openvino", "nncf")},
    ),
    "torch": Extra("int8 programs of torch.export, and integer weights, by torchao", {"latest": ("torchao",)}),
    "executorch": Extra("static int8 programs for phones", {"latest": ("executorch", "torchao")}),
    "quanto": Extra.of_both_lanes("int8, int4 and int2 weights in PyTorch", "optimum-quanto"),
    "tfrecord": Extra.of_both_lanes("images as TFRecord files", "google-crc32c"),
    "timm": Extra.of_both_lanes("models of timm", "timm"),
    "plots": Extra.of_both_lanes("charts as PNG", "matplotlib"),
    "demo": Extra.of_both_lanes("smi-hf demo and its images", "scikit-learn"),
}


def package_version(distribution: str) -> str | None:
    """Installed version of a distribution, None if it is absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def package_versions(distributions: tuple[str, ...] = CORE_PACKAGES) -> dict[str, str | None]:
    """Installed versions by distribution, smi-hf's and Python's first."""
    own = {"python": platform.python_version(), "smi-hf": package_version("smi-hf")}
    return own | {name: package_version(name) for name in distributions}


def dependency_lane() -> str:
    """ "full" with transformers 4 (every quantization back end), "latest" with transformers 5."""
    return "latest" if int((package_version("transformers") or "0").split(".")[0]) >= 5 else "full"


def image_processor_options() -> dict[str, Any]:
    """How to ask for an image processor that needs no torchvision, without a warning, in either lane."""
    return {"backend": "pil"} if dependency_lane() == "latest" else {"use_fast": False}


def extra_packages(extra: str) -> tuple[str, ...]:
    """Distributions that an extra brings to this lane, or to the one that has it."""
    packages = EXTRAS[extra].packages
    return packages.get(dependency_lane(), next(iter(packages.values())))


def missing_packages(extra: str) -> list[str]:
    """What an extra lacks: distributions that are not installed, and the lane itself where this one cannot have it."""
    absent = [name for name in extra_packages(extra) if package_version(name) is None]
    packages = EXTRAS[extra].packages
    return absent if dependency_lane() in packages else [LANES[next(iter(packages))], *absent]


def install_command(*extras: str) -> str:
    """The command that brings extras to the lane that has them, which is this one wherever it can be."""
    lanes = {_lane_of(extra) for extra in extras}
    assert len(lanes) == 1, f"{extras} are of the lanes {lanes}"
    names = ",".join(_name_in_lane(extra) for extra in extras)
    command = f'pip install "smi-hf[{names}] @ {SOURCE}"'
    if (other := lanes.pop()) == dependency_lane():
        return command
    major = int(LANES[other].split()[-1])
    return f'{command} "transformers>={major},<{major + 1}"'


def how_to_install(extra: str) -> str:
    """What a user of this lane does to get an extra: a pip command; of what another lane has, in a new environment."""
    lane, other = dependency_lane(), _lane_of(extra)
    if other == lane:
        return install_command(extra)
    return (
        f"the {other} lane has it, {LANES[other]}, and this is {lane}, {LANES[lane]}; in a new virtual environment: "
        f"{install_command(extra)}"
    )


def _lane_of(extra: str) -> str:
    """The lane that an extra can be installed in: this one, or else the one that has it."""
    packages, lane = EXTRAS[extra].packages, dependency_lane()
    return lane if lane in packages else next(iter(packages))


def _name_in_lane(extra: str) -> str:
    """The extra as pyproject.toml has it: one cannot ask for different packages under transformers 4 and 5."""
    packages, lane = EXTRAS[extra].packages, _lane_of(extra)
    return extra if len(set(packages.values())) == 1 or lane == "latest" else f"{extra}-{lane}"


def check_extra(extra: str, needed_by: str) -> None:
    """Checks that an extra is installed.

    Raises:
        UsageError: it is not; holds the pip command, or names the lane that has it.
    """
    if missing := missing_packages(extra):
        raise UsageError(f"{needed_by} needs {', '.join(missing)} ({EXTRAS[extra].purpose}): {how_to_install(extra)}")


def describe_device(device: Any) -> str:
    """A torch device in words, with no name of this machine."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return device.type


def cache_folder() -> Path:
    """The folder that `SMI_HF_CACHE` names; unless it is set, `smi_hf` in the cache of Hugging Face (`HF_HOME`)."""
    from huggingface_hub.constants import HF_HOME

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path(HF_HOME) / "smi_hf"


@checked
@dataclass(frozen=True)
class Environment:
    """What a record says of a machine.

    Args:
        lane: "full" or "latest".
        device: in words, with no name of the machine.
        packages: versions, None of what is absent.
    """

    lane: str
    device: str
    packages: dict[str, str | None]


def describe_environment(device: Any, extra: str | None = None) -> Environment:
    """This machine; versions of an extra's packages are among the others."""
    extras = () if extra is None else tuple(name for name in extra_packages(extra) if name not in CORE_PACKAGES)
    return Environment(dependency_lane(), describe_device(device), package_versions(CORE_PACKAGES + extras))
