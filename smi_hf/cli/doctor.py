"""`smi-hf doctor`: what is installed, and what works with it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.doctor_checks import LOG_IN, find_bf16, find_compiler, fixes
from smi_hf.environment import (
    EXTRAS,
    dependency_lane,
    describe_device,
    extra_packages,
    missing_packages,
    package_version,
    package_versions,
)
from smi_hf.errors import UsageError

_EPILOG = """examples:
  smi-hf doctor
  smi-hf doctor --fix
"""


@dataclass
class DoctorArguments:
    """How the findings are shown."""

    json: bool = field(default=False, metadata={"help": "Print the findings as JSON."})
    fix: bool = field(default=False, metadata={"help": "Print commands that bring what is missing; none is run."})

    def __post_init__(self) -> None:
        if self.json and self.fix:
            raise UsageError("json prints what was found and fix what to do about it; give one of them")


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
            "--mixed_precision bf16": _finding(*find_bf16()),
            "--compile": _finding(*find_compiler()),
            "push_to_hub": _finding(bool(get_token()), "logged in" if get_token() else f"run `{LOG_IN}` first"),
            **{f"extra {extra}": _finding(*_extra(extra)) for extra in EXTRAS},
        },
    }


def _finding(works: bool, note: str) -> dict[str, Any]:
    return {"works": works, "note": note}


def _extra(extra: str) -> tuple[bool, str]:
    purpose = f"{EXTRAS[extra].purpose} ({' and '.join(EXTRAS[extra].packages)})"
    if missing := missing_packages(extra):
        return False, f"{purpose}: lacks {', '.join(missing)}"
    return True, f"{purpose}: " + ", ".join(f"{name} {package_version(name)}" for name in extra_packages(extra))


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        DoctorArguments,
        prog="smi-hf doctor",
        description="Show versions, dependency lane, extras and devices, and what would and would not work here.",
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Prints the findings, or what to do about them."""
    (doctor,) = make_parser().parse(arguments)
    if doctor.fix:
        print("\n".join(fixes() or ["# Nothing is missing."]))
        return
    findings = examine()
    if doctor.json:
        print(json.dumps(findings, indent=2))
        return

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in findings["packages"].items())
    console.print(f"Lane: {findings['lane']} ({versions})")
    console.print(f"Devices: {'; '.join(f'{name} ({words})' for name, words in findings['devices'].items())}")
    console.print(f"Model families: {', '.join(findings['model_families'])}")
    table = Table("", "what", "note")
    for name, finding in findings["checks"].items():
        table.add_row("[green]yes[/]" if finding["works"] else "[red]no[/]", name, escape(finding["note"]))
    console.print(table)
    if fixes():
        console.print("Commands that bring what is missing: smi-hf doctor --fix")
