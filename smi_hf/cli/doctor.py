"""`smi-hf doctor`: what is installed, and what works with it."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.environment import (
    EXTRAS,
    dependency_lane,
    describe_device,
    extra_packages,
    how_to_install,
    missing_packages,
    package_version,
    package_versions,
)


@dataclass
class DoctorArguments:
    """How the findings are shown."""

    json: bool = field(default=False, metadata={"help": "Print the findings as JSON."})


def examine() -> dict[str, Any]:
    """Everything this command knows, as plain values."""
    import torch
    from huggingface_hub import get_token

    from smi_hf.models.families.base import FAMILIES

    lane = dependency_lane()
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {
        "lane": lane,
        "packages": package_versions(),
        "devices": {name: describe_device(name) for name in devices},
        "cpu_cores": os.cpu_count(),
        "model_families": FAMILIES.names(),
        "checks": {
            "invert": _finding(True, "sparse model inversion of the families above"),
            "--mixed_precision bf16": _finding(*_bf16()),
            "--compile": _finding(*_compiler()),
            "push_to_hub": _finding(bool(get_token()), "logged in" if get_token() else "run `hf auth login` first"),
            **{f"extra {extra}": _finding(*_extra(extra)) for extra in EXTRAS},
        },
    }


def _finding(works: bool, note: str) -> dict[str, Any]:
    return {"works": works, "note": note}


def _bf16() -> tuple[bool, str]:
    import torch

    if torch.cuda.is_available():
        works = torch.cuda.is_bf16_supported()
        return works, "on the GPU" if works else "this GPU has no bfloat16; use float32"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return True, "on the CPU, in hardware" if fast else "on the CPU, but emulated: slower than float32"


def _compiler() -> tuple[bool, str]:
    import torch

    if torch.cuda.is_available():
        return True, "on the GPU"
    compiler = next((name for name in (os.environ.get("CXX"), "g++", "clang++") if name and shutil.which(name)), None)
    return compiler is not None, f"with {compiler}" if compiler else "needs a C++ compiler (g++ or clang++) on the CPU"


def _extra(extra: str) -> tuple[bool, str]:
    purpose = f"{EXTRAS[extra].purpose} ({' and '.join(EXTRAS[extra].packages)})"
    if missing := missing_packages(extra):
        return False, f"{purpose}: lacks {', '.join(missing)}; {how_to_install(extra)}"
    return True, f"{purpose}: " + ", ".join(f"{name} {package_version(name)}" for name in extra_packages(extra))


def run(arguments: Sequence[str] | None = None) -> None:
    """Prints the findings."""
    (doctor,) = ArgumentParser(
        DoctorArguments,
        prog="smi-hf doctor",
        description="Show versions, dependency lane, extras and devices, and what would and would not work here.",
    ).parse(arguments)
    findings = examine()
    if doctor.json:
        print(json.dumps(findings, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    console = Console()
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in findings["packages"].items())
    console.print(f"Lane: {findings['lane']} ({versions})")
    console.print(f"Devices: {'; '.join(f'{name} ({words})' for name, words in findings['devices'].items())}")
    console.print(f"Model families: {', '.join(findings['model_families'])}")
    table = Table("", "what", "note")
    for name, finding in findings["checks"].items():
        table.add_row("[green]yes[/]" if finding["works"] else "[red]no[/]", name.replace("[", r"\["), finding["note"])
    console.print(table)
