"""Registries: what is found, what is imported when, and what a wrong name gets."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from smi_hf import losses
from smi_hf.errors import UsageError
from smi_hf.losses import LOSSES
from smi_hf.registry import Choice, Registry, suggest, without_path

# Of the package that the registries of these tests stand over.
NAMES = sorted({path.stem for path in Path(losses.__file__).parent.glob("*.py")} - {"__init__", "base"})
LISTED = ", ".join(NAMES)


@pytest.mark.parametrize(
    ("module", "registry", "names"),
    [
        ("smi_hf.patches.policies.base", "POLICIES", ["dense", "pri", "random", "smi"]),
        ("smi_hf.losses.base", "LOSSES", NAMES),
        ("smi_hf.starts.base", "STARTS", ["dataset", "dead_leaves", "fractal", "noise", "pink", "scenes"]),
    ],
)
def test_names_are_listed_without_importing_the_files_or_torch(module, registry, names):
    """--help lists them, and must not wait for torch."""
    package = module.removesuffix(".base")
    script = (
        f"import sys\nfrom {module} import {registry}\nprint({registry}.names(), 'nothing' in {registry})\n"
        f"print([name for name in sys.modules if name == 'torch' or name.startswith({package!r} + '.')])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert run.stdout.splitlines() == [f"{names} False", f"[{module!r}]"]


def test_a_file_is_imported_when_its_name_is_first_asked_for():
    script = (
        "import sys\nfrom smi_hf.losses.base import LOSSES\n"
        "term = LOSSES.get('l2')\n"
        "print(term.function.__name__, sorted(name for name in sys.modules if name.startswith('smi_hf.losses.')))\n"
        "print(LOSSES.get('l2') is term)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert run.stdout.splitlines() == ["l2 ['smi_hf.losses.base', 'smi_hf.losses.l2']", "True"]


@pytest.fixture
def registry() -> Registry[str]:
    """A registry over a package whose files register themselves elsewhere."""
    return Registry("color", "smi_hf.losses")


def test_names_from_code_stand_beside_those_of_the_files(registry):
    assert registry.register("blue")("the sky") == "the sky"
    assert registry.names() == sorted(["blue", *NAMES])
    assert registry.get("blue") == "the sky"
    assert "blue" in registry
    assert "l2" in registry
    assert "base" not in registry


def test_a_name_cannot_be_registered_twice(registry):
    registry.register("blue")("the sky")
    with pytest.raises(AssertionError, match="color 'blue' is registered twice"):
        registry.register("blue")("the sea")
    assert registry.get("blue") == "the sky"


def test_a_file_that_does_not_register_its_name_is_our_bug(registry):
    LOSSES.get("l2")
    with pytest.raises(AssertionError, match=r"smi_hf\.losses\.l2 does not register 'l2'"):
        registry.get("l2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cross_entrpy",
            f"there is no color 'cross_entrpy' (did you mean 'cross_entropy'?); available: {LISTED}",
        ),
        ("zzz", f"there is no color 'zzz'; available: {LISTED}"),
        ("base", f"there is no color 'base'; available: {LISTED}"),
        ("", f"there is no color ''; available: {LISTED}"),
        ("../l2", f"there is no color '../l2'; available: {LISTED}"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_exist(registry, name, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        registry.get(name)


@pytest.mark.parametrize(
    ("name", "choices", "hint"),
    [
        ("sim", ["smi", "random", "dense"], " (did you mean 'smi'?)"),
        ("densse", ["smi", "random", "dense"], " (did you mean 'dense'?)"),
        ("entropy", ["smi", "random", "dense"], ""),
        ("smi", [], ""),
    ],
)
def test_a_suggestion_names_the_nearest_choice_or_nothing(name, choices, hint):
    assert suggest(name, choices) == hint


@dataclass(frozen=True)
class Flavor:
    purpose: str
    argument: str | None = None


class FlavorChoice(Choice):
    registry: ClassVar[Registry[Flavor]] = Registry("flavor", "smi_hf.losses")


FlavorChoice.registry.register("plain")(Flavor("as it is"))
FlavorChoice.registry.register("fruit")(Flavor("with fruit", "FRUIT"))


FLAVORS = ", ".join(sorted([*NAMES, "plain", "fruit"]))


def test_a_choice_is_a_name_or_a_name_with_its_argument():
    assert FlavorChoice.parse("plain") == FlavorChoice("plain")
    # Only the first sign of equality divides.
    assert FlavorChoice.parse("fruit=a=b") == FlavorChoice("fruit", "a=b")
    assert (FlavorChoice("plain").key, FlavorChoice("fruit", "/home/me/apple").key) == ("plain", "fruit=apple")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plane", f"there is no flavor 'plane' (did you mean 'plain'?); available: {FLAVORS}, special"),
        ("fruit", "flavor 'fruit' must be written fruit=FRUIT"),
        ("fruit=", "flavor 'fruit=' must be written fruit=FRUIT"),
        ("plain=1", "flavor 'plain=1' must be written plain"),
        ("plain=", "flavor 'plain=' must be written plain"),
        ("no", f"available: {FLAVORS}, special"),
    ],
)
def test_a_choice_that_is_none_is_refused_with_how_it_is_written(text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        FlavorChoice.parse(text, also=("special",))


def test_a_path_is_named_by_its_last_part_and_a_name_on_the_hub_is_whole():
    assert [without_path(name) for name in ("me/photos:train", "./photos", "/a/b:test")] == [
        "me/photos:train", "photos", "b:test",
    ]  # fmt: skip
