"""Named extension points: a file named after what it adds, and a wrong name is answered with the right ones."""

import difflib
import importlib
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from smi_hf.errors import UsageError

T = TypeVar("T")


def suggest(name: str, choices: list[str]) -> str:
    """A hint such as ` (did you mean 'smi'?)`, empty if nothing is near."""
    nearest = difflib.get_close_matches(name, choices, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def unknown_name(kind: str, name: str, names: Sequence[str]) -> UsageError:
    """What is raised where `name` is no `kind`, of which there are `names`."""
    return UsageError(f"there is no {kind} {name!r}{suggest(name, list(names))}; available: {', '.join(names)}")


class Registry(Generic[T]):
    """A mapping from names to implementations of one kind, found in the files of one package.

    A file `name.py` in the package registers `name`; it is imported when the name is first asked for, so that listing
    names (for `--help`) imports nothing. Code outside the package may register more names at run time.

    Args:
        kind: what is registered, for messages ("loss term").
        package: package whose files are the implementations; `base.py` and `__init__.py` are not.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files the decorated object under `name`."""

        def add(entry: T) -> T:
            assert name not in self._entries, f"{self.kind} {name!r} is registered twice"
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UsageError: nothing is registered under it; names those that are.
        """
        if name not in self:
            raise unknown_name(self.kind, name, self.names())
        if name not in self._entries:
            importlib.import_module(f"{self.package}.{name}")
            assert name in self._entries, f"{self.package}.{name} does not register {name!r}"
        return self._entries[name]

    def names(self) -> list[str]:
        """Every name, sorted."""
        folder = Path(__file__).parent.joinpath(*self.package.split(".")[1:])
        files = {module.name for module in pkgutil.iter_modules([str(folder)])} - {"base"}
        return sorted(files | self._entries.keys())

    def __contains__(self, name: str) -> bool:
        return name in self._entries or name in self.names()


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
        """One line for each entry, for the end of --help."""
        entries = {name: cls.registry.get(name) for name in cls.registry.names()}
        return "\n".join(f"  {_written(name, entry.argument):<15} {entry.purpose}" for name, entry in entries.items())


def without_path(argument: str) -> str:
    """A dataset as it was written, a path by its last part alone; `:split` stays."""
    is_hub_id = argument.count(os.sep) < 2 and not argument.startswith((os.sep, "."))
    is_there = any(os.path.exists(path) for path in (argument, argument.rpartition(":")[0]) if path)
    return argument if is_hub_id and not is_there else os.path.basename(os.path.abspath(argument))


def _written(name: str, argument: str | None) -> str:
    return name if argument is None else f"{name}={argument}"
