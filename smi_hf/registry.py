"""Named extension points: a file named after what it adds, here or in an installed package that offers it by an entry
point, and a wrong name is answered with the right ones."""

import difflib
import functools
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from smi_hf.errors import UsageError

T = TypeVar("T")

logger = logging.getLogger(__name__)


def suggest(name: str, choices: list[str]) -> str:
    """A hint such as ` (did you mean 'smi'?)`, empty if nothing is near."""
    nearest = difflib.get_close_matches(name, choices, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def unknown_name(kind: str, name: str, names: Sequence[str]) -> UsageError:
    """What is raised where `name` is no `kind`, of which there are `names`."""
    return UsageError(f"there is no {kind} {name!r}{suggest(name, list(names))}; available: {', '.join(names)}")


@functools.cache
def _entry_points() -> EntryPoints:
    """Those of every installed package: one look per process, as it takes some milliseconds."""
    return entry_points()


class Registry(Generic[T]):
    """A mapping from names to implementations of one kind: files of one package, and plug-ins.

    A file `name.py` in the package registers `name`. So does what an entry point `name` of another installed package
    leads to, in the group of the registry ("smi_hf.losses"). Either is imported when the name is first asked for, so
    that listing names (for `--help`) imports nothing. Code may register more names at run time. A name of a file here
    is taken: others that register it, or offer it, are left out with a warning.

    Args:
        kind: what is registered, for messages ("loss term").
        package: package whose files are the implementations; `base.py` and `__init__.py` are not.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._asked: set[str] = set()

    @property
    def group(self) -> str:
        """Group of the entry points of plug-ins: `smi_hf.policies`."""
        return f"smi_hf.{self.package.rpartition('.')[2]}"

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files the decorated object under `name`."""

        def add(entry: T) -> T:
            # The file of that name is in sys.modules while it is imported, and is imported once.
            is_ours = f"{self.package}.{name}" in sys.modules and name not in self._entries
            if name in self._reserved() and not is_ours:
                logger.warning("the %s %r is smi_hf's own; another of that name is not used", self.kind, name)
                return entry
            assert name not in self._entries, f"{self.kind} {name!r} is registered twice"
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UsageError: nothing is registered under it, and those that are are named; or its plug-in fails.
        """
        if name not in self:
            raise unknown_name(self.kind, name, self.names())
        self._warn_of_others(name)
        if name not in self._entries:
            if name in self.own_names():
                importlib.import_module(f"{self.package}.{name}")
                assert name in self._entries, f"{self.package}.{name} does not register {name!r}"
            else:
                self._load_plugin(name)
        return self._entries[name]

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted({*self.own_names(), *self._entries, *self._plugins()})

    def own_names(self) -> list[str]:
        """The names of the package's files, sorted."""
        folder = Path(__file__).parent.joinpath(*self.package.split(".")[1:])
        return sorted({module.name for module in pkgutil.iter_modules([str(folder)])} - {"base"})

    def not_imported_from(self, name: str) -> str | None:
        """The installed package that offers `name`, if nothing but that is known of it yet; None otherwise."""
        points = [] if name in self._entries else self._plugins().get(name, [])
        return " and ".join(map(_package_of, points)) or None

    def __contains__(self, name: str) -> bool:
        return name in self._entries or name in self.names()

    def _reserved(self) -> set[str]:
        """Names that only files of smi_hf may have."""
        return set(self.own_names())

    def _offered(self) -> list[EntryPoint]:
        return sorted(_entry_points().select(group=self.group), key=_package_of)

    def _plugins(self) -> dict[str, list[EntryPoint]]:
        """Entry points by the names that they offer, one for each package that offers it."""
        found: dict[str, list[EntryPoint]] = {}
        reserved = self._reserved()
        for point in self._offered():
            if point.name not in reserved:
                found.setdefault(point.name, []).append(point)
        return found

    def _warn_of_others(self, name: str) -> None:
        """Once for a name: says whose plug-in is not used, as the name is one of a file here."""
        if name in self._asked:
            return
        self._asked.add(name)
        for point in self._offered() if name in self._reserved() else ():
            if point.name == name:
                package = _package_of(point)
                logger.warning(
                    "the %s %r is smi_hf's own; that of the package %s is not used", self.kind, name, package
                )

    def _load_plugin(self, name: str) -> None:
        """Imports what registers a name that an entry point offers."""
        point, *others = self._plugins()[name]
        packages = self.not_imported_from(name)
        if others:
            raise UsageError(f"the {self.kind} {name!r} is offered by {packages}; uninstall all but one of them")
        what = f"the {self.kind} {name!r} of the package {packages}"
        try:
            point.load()
        except Exception as error:  # it is others' code, which can fail in any way
            self._entries.pop(name, None)
            said = " ".join(str(error).split())
            raise UsageError(
                f"{what} cannot be used: to import {point.value} gives {type(error).__name__}"
                f"{f' ({said})' if said else ''}; mend the package, or uninstall it"
            ) from error
        if name not in self._entries:
            raise UsageError(
                f"{what} cannot be used: {point.value} registers no {self.kind} of that name; mend the package, or "
                f"uninstall it"
            )


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


@dataclass(frozen=True)
class Choice:
    """An entry of a registry as a user wrote it: `NAME`, or `NAME=ARGUMENT`.

    A subclass names its `registry`. Entries of it have `purpose`, what `NAME` is in words, and `argument`, what must
    be written behind `=` ("DATASET"), None if nothing may be.

    Args:
        name: of the entry.
        argument: what stands behind `=`, empty if nothing.
    """

    registry: ClassVar[Registry[Any]]

    name: str
    argument: str = ""

    @property
    def key(self) -> str:
        """The choice as a record may hold it: with the name of its dataset, never a path of this machine."""
        return f"{self.name}={without_path(self.argument)}" if self.argument else self.name

    @classmethod
    def parse(cls, text: str, *, also: Sequence[str] = ()) -> Self:
        """Reads `NAME` or `NAME=ARGUMENT`.

        Args:
            also: names that the caller serves itself, for the message.

        Raises:
            UsageError: there is no such entry, or it lacks its argument, or has one that it does not take.
        """
        name, equals, argument = text.partition("=")
        kind = cls.registry.kind
        if name not in cls.registry:
            raise unknown_name(kind, name, [*cls.registry.names(), *also])
        wanted = cls.registry.get(name).argument
        if (wanted is not None) != bool(argument) or (wanted is None and equals):
            raise UsageError(f"{kind} {text!r} must be written {_written(name, wanted)}")
        return cls(name, argument)

    @classmethod
    def help(cls) -> str:
        """One line for each entry, for the end of --help; a plug-in is not imported for that."""
        return "\n".join(
            f"  {written:<15} {purpose}" for written, purpose in map(cls._described, cls.registry.names())
        )

    @classmethod
    def _described(cls, name: str) -> tuple[str, str]:
        if package := cls.registry.not_imported_from(name):
            return name, of_package(package)
        entry = cls.registry.get(name)
        return _written(name, entry.argument), entry.purpose


def of_package(package: str) -> str:
    """What `--help` says of a plug-in, which is not imported for it."""
    return f"of the package {package}"


def without_path(argument: str) -> str:
    """A dataset as it was written, a path by its last part alone; `:split` stays."""
    is_hub_id = argument.count(os.sep) < 2 and not argument.startswith((os.sep, "."))
    is_there = any(os.path.exists(path) for path in (argument, argument.rpartition(":")[0]) if path)
    return argument if is_hub_id and not is_there else os.path.basename(os.path.abspath(argument))


def _written(name: str, argument: str | None) -> str:
    return name if argument is None else f"{name}={argument}"
