"""Packages with entry points, as `pip install --target` leaves them: a module and a `.dist-info`."""

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

from smi_hf import registry

EntryPoints = Mapping[str, Mapping[str, str]]


def install(folder: Path, name: str, entry_points: EntryPoints, source: str | None = None) -> None:
    """Writes a package into a folder for `sys.path`; its source is one module, `name` with underscores."""
    folder.mkdir(parents=True, exist_ok=True)
    if source is not None:
        (folder / f"{name.replace('-', '_')}.py").write_text(source)
    info = folder / f"{name.replace('-', '_')}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))


def install_project(project: Path, folder: Path) -> None:
    """Installs the modules beside a pyproject.toml under its entry points; no build back end is needed for that."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    install(folder, settings["name"], settings["entry-points"])
    for module in project.glob("*.py"):
        shutil.copy(module, folder)


def look_again() -> None:
    """Has smi_hf in this process look for packages anew."""
    registry._entry_points.cache_clear()
