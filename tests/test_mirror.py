"""Tests mirror the code: smi_hf/a/b.py is tested by tests/a/test_b.py, and a test file is named after a module."""

import ast
from pathlib import Path

import pytest

import smi_hf

PACKAGE = Path(smi_hf.__file__).parent
TESTS = Path(__file__).parent

# Modules without a test file of their own, and why.
UNTESTED = {
    **{
        f"models/families/{name}.py": "a few lines; tests/models/test_sparse.py walks over all families that there are"
        for name in (
            *(
                "clip_vision_model",
                "data2vec_vision",
                "deit",
                "dinov2",
                "dinov2_with_registers",
                "dinov3_vit",
                "ijepa",
            ),
            *("metaclip_2", "siglip_vision_model", "vit", "vit_msn"),
        )
    },
    "distillation/quantization.py": "a protocol; tests/quantization/qat/test_student.py compares what implements it",
}

# Test files that cross modules, and what they are about instead.
CROSSING = {
    "cli/test_epilogs.py": "examples at the end of every command's --help",
    "cli/test_fuzz.py": "bad input to every option of every command",
    "distillation/test_processes.py": "two real processes teach what one does",
    "hub/test_loopback.py": "the Hub on 127.0.0.1 that other tests use",
    "inversion/test_kills.py": "kill -9 at each change of a file",
    "inversion/test_real_checkpoint.py": "slow: the real DeiT-Tiny",
    "models/test_image_processors.py": "every class of image processors that transformers has",
    "pruning/test_kills.py": "kill -9 while a model is pruned",
    "quantization/test_kills.py": "kill -9 at each change of a file",
    "quantization/test_lanes.py": "one accuracy in both lanes of dependencies",
    "test_layers.py": "imports of every module",
    "test_mirror.py": "this file",
    "test_readme.py": "commands and code of the README",
}
# Folders of what is not a package of smi_hf: what works with each kind of models, and recipes.
OTHER_FOLDERS = ("families", "recipes")

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
TEST_FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))


def file_for(module: Path) -> Path:
    return TESTS / module.with_name(f"test_{module.name}")


def module_of(test_file: Path) -> Path:
    return PACKAGE / test_file.with_name(test_file.name.removeprefix("test_"))


def has_tests(path: Path) -> bool:
    functions = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
    return any(function.name.startswith("test_") for function in functions)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_a_test_file_of_its_name(module):
    if module.as_posix() in UNTESTED:
        return
    path = file_for(module)
    assert path.is_file(), f"put the tests of smi_hf/{module} into tests/{path.relative_to(TESTS)}"
    assert has_tests(path), f"tests/{path.relative_to(TESTS)} has no test"


@pytest.mark.parametrize("test_file", TEST_FILES, ids=str)
def test_a_test_file_has_the_name_of_a_module(test_file):
    if test_file.as_posix() in CROSSING or test_file.parts[0] in OTHER_FOLDERS:
        return
    path = module_of(test_file)
    assert path.is_file(), f"tests/{test_file} tests smi_hf/{path.relative_to(PACKAGE)}, which does not exist"


def test_exceptions_are_few_and_none_is_left_over():
    assert len(UNTESTED) <= 15
    for name in UNTESTED:
        assert (PACKAGE / name).is_file() and not file_for(Path(name)).exists(), f"{name} is no exception any more"
    for name in CROSSING:
        assert (TESTS / name).is_file() and not module_of(Path(name)).exists(), f"{name} is no exception any more"
    assert all((TESTS / folder).is_dir() and not (PACKAGE / folder).exists() for folder in OTHER_FOLDERS)


def test_every_package_of_tests_is_one_of_the_code():
    folders = {path.parent for path in TEST_FILES} - {Path(name) for name in OTHER_FOLDERS}
    assert not [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()]
