"""A path that is not there, answered with the one beside it that was probably meant."""

import difflib
import os
from itertools import islice
from pathlib import Path

# A folder of more entries is not searched to its end: this is a hint in an error message.
_MOST_ENTRIES = 10_000


def nearest_path(path: str | Path) -> str:
    """A hint such as ` (did you mean 'out/deit-tiny'?)`; empty if nothing near is there.

    The first part of the path that does not exist is compared with what lies beside it, hidden files only if it is
    one.
    """
    given = Path(path)
    try:
        missing = next(part for part in reversed([given, *given.parents]) if not os.path.lexists(part))
        with os.scandir(missing.parent) as entries:
            names = [entry.name for entry in islice(entries, _MOST_ENTRIES)]
    # Nothing is missing; or what it would lie in cannot be read, or is no folder.
    except (StopIteration, OSError, ValueError):
        return ""
    beside = [name for name in names if name.startswith(".") == missing.name.startswith(".")]
    by_lower = {name.lower(): name for name in sorted(beside)}
    found = difflib.get_close_matches(missing.name.lower(), list(by_lower), n=1)
    if not found:
        return ""
    near = missing.parent / by_lower[found[0]]
    whole = near / given.relative_to(missing)
    return f" (did you mean {str(whole if os.path.lexists(whole) else near)!r}?)"
