"""Packages with entry points, as `pip install --target` leaves them: a module and a `.dist-info`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from smi_hf import registry

EntryPoints = Mapping[str, Mapping[str, str]]


def install(folder: Path, name: str, entry_points: EntryPoints, source: str) -> None:
    """Writes a package of one module, `name` with underscores, into a folder for `sys.path`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name.replace('-', '_')}.py").write_text(source)
    info = folder / f"{name.replace('-', '_')}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))


def install_project(project: Path, folder: Path) -> None:
    """Installs a project of one module beside its pyproject.toml; no build back end is needed for that."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    module = project / f"{settings['name'].replace('-', '_')}.py"
    install(folder, settings["name"], settings["entry-points"], module.read_text())


def look_again() -> None:
    """Has smi_hf in this process look for packages anew."""
    registry._entry_points.cache_clear()
