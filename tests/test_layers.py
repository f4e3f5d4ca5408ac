"""Imports point one way: what a module of smi_hf may import, read from the source, lazy imports counted."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smi_hf

PACKAGE = Path(smi_hf.__file__).parent
# From the ground up. Rooms of one floor do not know each other.
FLOORS = (
    {"errors", "progress"},
    {"registry", "files", "nearby", "notebook"},
    {"json_record"},
    {"environment"},
    {"patches"},
    {"losses", "starts"},
    {"models"},
    {"data"},
    {"images"},
    {"evaluation"},
    {"hub"},
    {"reports"},
    {"inversion", "quantization", "distillation", "pruning"},
    {"calibration"},
    {"demo"},
    {"cli"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyi"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The room of a module: `quantization` of `smi_hf.quantization.backends.onnx`; empty for `smi_hf` itself."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module of smi_hf that a file imports, wherever in it, and whether that is for type checkers alone."""
    package = module_name(path) if path.stem == "__init__" else module_name(path).rpartition(".")[0]
    return imports_of(path.read_text(), package)


def imports_of(source: str, package: str) -> Iterator[tuple[str, bool]]:
    """As `imports`, of the source of a module in a package."""
    tree = ast.parse(source)
    for_types = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A relative import, which only the stubs have, is one of this package.
            start = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, [start, node.module]))
            found = [f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base for alias in node.names]
        else:
            continue
        yield from ((name, node in for_types) for name in found if name.split(".")[0] == "smi_hf")


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_every_room_has_a_floor():
    rooms = {room(module_name(path)) for path in SOURCES} - {""}
    assert rooms == set(FLOOR)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_nothing_from_above(path):
    own = room(module_name(path))
    if own == "":  # the public face, which has everything
        return
    above = [
        name
        for name, _ in imports(path)
        if room(name) != own and (room(name) == "" or FLOOR[room(name)] >= FLOOR[own])
    ]
    assert not above, f"{module_name(path)} imports {above}"


def test_no_module_imports_itself_in_a_circle():
    # Types alone may point both ways: nothing is imported for them.
    graph: dict[str, set[str]] = {}
    for path in SOURCES:  # a package has two files, its code and its stub
        names = {name for name, for_types in imports(path) if not for_types}
        graph.setdefault(module_name(path), set()).update(names)
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name in done or name not in graph:
            return
        for other in sorted(graph[name]):
            visit(other, (*way, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_the_walk_sees_what_is_lazy_what_is_relative_and_what_is_for_types():
    source = """
import smi_hf.data
from .reader import load_sparse_dataset
if TYPE_CHECKING:
    from smi_hf.models import Teacher
def f():
    from smi_hf.cli import main
    import torch
"""
    assert dict(imports_of(source, "smi_hf.data")) == {
        "smi_hf.data": False,
        "smi_hf.data.reader": False,
        "smi_hf.models": True,
        "smi_hf.cli.main": False,
    }


def test_importing_the_package_loads_nothing_heavy(run_command):
    code = "import sys, smi_hf; print(sorted({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)))"
    assert run_command(sys.executable, "-c", code).stdout == "[]\n"
