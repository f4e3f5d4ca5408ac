"""What this machine has: package versions, dependency lane, extras, devices. The one module that compares versions."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
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
# Extra of smi-hf -> (distribution, module) of what it brings.
EXTRAS: dict[str, tuple[tuple[str, str], ...]] = {
    "onnx": (("optimum-onnx", "optimum.onnxruntime"), ("onnxruntime", "onnxruntime")),
    "openvino": (("optimum-intel", "optimum.intel"), ("openvino", "openvino"), ("nncf", "nncf")),
    "quanto": (("optimum-quanto", "optimum.quanto"),),
    "tfrecord": (("google-crc32c", "google_crc32c"),),
    "plots": (("matplotlib", "matplotlib"),),
    "demo": (("scikit-learn", "sklearn"),),
}
# What an extra is for, and the transformers lane that has it (None: both).
EXTRA_PURPOSE: dict[str, tuple[str, str | None]] = {
    "onnx": ("static int8 models for ONNX Runtime", "full"),
    "openvino": ("static int8 models for OpenVINO", "full"),
    "quanto": ("int8, int4 and int2 weights in PyTorch", None),
    "tfrecord": ("images as TFRecord files", None),
    "plots": ("charts as PNG", None),
    "demo": ("smi-hf demo and its images", None),
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
    return {} if dependency_lane() == "latest" else {"use_fast": False}


def missing_packages(extra: str) -> list[str]:
    """Distributions of an extra that are not installed."""
    return [name for name, _ in EXTRAS[extra] if package_version(name) is None]


def check_extra(extra: str, needed_by: str) -> None:
    """Checks that an extra is installed.

    Raises:
        UsageError: it is not; holds the pip command, or names the lane that has it.
    """
    missing = missing_packages(extra)
    if not missing:
        return
    purpose, needs_lane = EXTRA_PURPOSE[extra]
    if needs_lane is not None and needs_lane != dependency_lane():
        raise UsageError(
            f"{needed_by} lacks {', '.join(missing)} ({purpose}), which needs transformers 4: use the {needs_lane} "
            f"lane (make install, constraints-{needs_lane}.txt)"
        )
    raise UsageError(f'{needed_by} lacks {", ".join(missing)}: pip install "smi-hf[{extra}]"')


def describe_device(device: Any) -> str:
    """A torch device in words, with no name of this machine."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return device.type


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
    packages = CORE_PACKAGES + tuple(name for name, _ in EXTRAS.get(extra or "", ()) if name not in CORE_PACKAGES)
    return Environment(dependency_lane(), describe_device(device), package_versions(packages))
