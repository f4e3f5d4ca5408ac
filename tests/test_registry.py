"""Registries: what is found, what is imported when, and what a wrong name gets."""

import importlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import plugins
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


LOSS = """
import torch
from smi_hf.losses import register_loss

@register_loss("{name}")
def term(inputs):
    return torch.zeros(len(inputs.targets_B))
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs packages that offer loss terms, for this test alone."""
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))
    monkeypatch.setattr(LOSSES, "_asked", set())
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)

    def add(package: str, source: str, **names: str) -> None:
        plugins.install(tmp_path, package, {"smi_hf.losses": names}, source)
        plugins.look_again()

    yield add
    monkeypatch.undo()
    plugins.look_again()
    for name in {path.stem for path in tmp_path.glob("*.py")} - modules:
        sys.modules.pop(name, None)


def test_a_term_of_another_package_is_listed_at_once_and_imported_when_it_is_asked_for(installed):
    installed("pack-a", LOSS.format(name="mine"), mine="pack_a:term")
    assert LOSSES.names() == sorted([*NAMES, "mine"])
    assert "mine" in LOSSES
    assert LOSSES.not_imported_from("mine") == "pack-a"
    assert "pack_a" not in sys.modules
    assert LOSSES.get("mine").function.__module__ == "pack_a"
    assert LOSSES.not_imported_from("mine") is None
    # It is no name of ours.
    assert LOSSES.own_names() == NAMES


def test_a_module_may_be_named_without_an_object(installed):
    installed("pack-b", LOSS.format(name="mine"), mine="pack_b")
    assert LOSSES.get("mine").function.__name__ == "term"


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        ("import no_such_package", "pack_c", "to import pack_c gives ModuleNotFoundError (No module named"),
        ("raise RuntimeError", "pack_c", "to import pack_c gives RuntimeError; mend"),
        ("a b", "pack_c", "to import pack_c gives SyntaxError (invalid syntax"),
        (LOSS.format(name="mine"), "pack_c:other", "to import pack_c:other gives AttributeError"),
        (LOSS.format(name="mine") + "1 / 0", "pack_c", "gives ZeroDivisionError (division by zero)"),
        (LOSS.format(name="yours"), "pack_c", "pack_c registers no loss term of that name"),
        ("", "pack_c", "pack_c registers no loss term of that name"),
    ],
)
def test_a_broken_plugin_is_one_sentence_where_it_is_asked_for_and_nothing_elsewhere(installed, source, value, reason):
    installed("pack-c", source, mine=value)
    assert LOSSES.get("l2") and "mine" in LOSSES.names()
    for _ in range(2):  # half of a plug-in stays none
        with pytest.raises(UsageError, match="the loss term 'mine' of the package pack-c cannot be used: ") as raised:
            LOSSES.get("mine")
        assert reason in str(raised.value) and "\n" not in str(raised.value)


def test_a_name_of_ours_is_not_taken_by_a_plugin_and_that_is_said_once(installed, caplog):
    ours = LOSSES.get("l2")
    LOSSES._asked.clear()
    installed("pack-d", LOSS.format(name="l2"), l2="pack_d", mine="pack_d")
    LOSSES.names()
    assert not caplog.messages
    assert LOSSES.get("l2") is LOSSES.get("l2") is ours
    assert caplog.messages == ["the loss term 'l2' is smi_hf's own; that of the package pack-d is not used"]
    assert "pack_d" not in sys.modules
    # Nor by a module that is imported for another name.
    with pytest.raises(UsageError, match="registers no loss term of that name"):
        LOSSES.get("mine")
    assert LOSSES.get("l2") is ours
    assert caplog.messages[1:] == ["the loss term 'l2' is smi_hf's own; another of that name is not used"]


def test_a_name_of_ours_is_not_taken_before_its_file_is_imported():
    script = (
        "from smi_hf.losses.base import LOSSES, register_loss\n"
        "register_loss('l2')(print)\n"
        "print(LOSSES.get('l2').function.__module__)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert run.stdout == "smi_hf.losses.l2\n"
    assert "the loss term 'l2' is smi_hf's own" in run.stderr


def test_a_name_that_two_packages_offer_is_refused_with_both(installed):
    for package in ("pack-f", "pack-e"):
        installed(package, LOSS.format(name="mine"), mine=package.replace("-", "_"))
    with pytest.raises(UsageError, match="'mine' is offered by pack-e and pack-f; uninstall all but one of them"):
        LOSSES.get("mine")


def test_the_end_of_help_names_a_plugin_and_does_not_import_it(tmp_path, monkeypatch):
    plugins.install(tmp_path, "pack-g", {"smi_hf.flavors": {"salt": "pack_g"}}, "raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.look_again()

    class Flavors(Choice):
        registry: ClassVar[Registry[Flavor]] = Registry("flavor", "smi_hf.flavors")

    Flavors.registry.register("fruit")(Flavor("with fruit", "FRUIT"))
    assert Flavors.help().splitlines() == ["  fruit=FRUIT     with fruit", "  salt            of the package pack-g"]
    monkeypatch.undo()
    plugins.look_again()


@pytest.mark.parametrize(
    ("module", "name", "group"),
    [
        ("smi_hf.losses", "LOSSES", "smi_hf.losses"),
        ("smi_hf.patches", "POLICIES", "smi_hf.policies"),
        ("smi_hf.starts.base", "STARTS", "smi_hf.starts"),
        ("smi_hf.inversion.moves.base", "MOVES", "smi_hf.moves"),
        ("smi_hf.images.controls.base", "CONTROLS", "smi_hf.controls"),
        ("smi_hf.images.formats.base", "FORMATS", "smi_hf.formats"),
        ("smi_hf.quantization.backends", "BACKENDS", "smi_hf.backends"),
        ("smi_hf.models.families.base", "FAMILIES", "smi_hf.families"),
    ],
)
def test_each_registry_has_a_group_of_entry_points(module, name, group):
    assert getattr(importlib.import_module(module), name).group == group
