"""Named extension points: a file named after what it adds, and a wrong name is answered with the right ones."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from smi_hf.errors import UsageError

T = TypeVar("T")


def suggest(name: str, choices: list[str]) -> str:
    """A hint such as ` (did you mean 'smi'?)`, empty if nothing is near."""
    nearest = difflib.get_close_matches(name, choices, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


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
            raise UsageError(
                f"there is no {self.kind} {name!r}{suggest(name, self.names())}; available: {', '.join(self.names())}"
            )
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
