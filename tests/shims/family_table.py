"""The table of families: the file that the tests compare with, and what pages show of it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from family_kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
TABLE_FILE = ROOT / "tests" / "families" / "table.json"
README = ROOT / "README.md"
MODELS_PAGE = ROOT / "recipes" / "models.md"
# By lane, kind and column: "yes", or why it is refused.
Table = Mapping[str, Mapping[str, Mapping[str, str]]]

_BEGIN, _END = "<!-- the table of families: python tests/families/make_table.py -->\n", "<!-- its end -->\n"
_LANES = {"full": "4", "latest": "5"}
_BACK_ENDS = ("onnx", "openvino", "torch", "executorch", "torchao", "quanto", "simulated")
# What is shown of the columns; that a model loads goes without saying.
_HEADINGS = {
    "invert": "invert",
    "invert densely": "densely",
    **{name: name for name in _BACK_ENDS},
    "prune": "prune",
    "distill": "distill",
}


def read_table() -> Table:
    """The file."""
    return json.loads(TABLE_FILE.read_text(encoding="utf-8"))


def rendered_pages() -> dict[Path, str]:
    """The texts of the pages with the table as it is."""
    table = read_table()
    return {
        README: _between(README.read_text(encoding="utf-8"), _summary(table)),
        MODELS_PAGE: _between(MODELS_PAGE.read_text(encoding="utf-8"), _whole(table)),
    }


def _between(text: str, table: str) -> str:
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    assert rest and after is not None, "the page has no place for the table"
    return f"{before}{_BEGIN}{table}{_END}{after}"


def mark(table: Table, name: str, column: str) -> str:
    """A cell: `yes`, the version of transformers that it takes, `no`, or nothing where it was not tried."""
    rows = {lane: table.get(lane, {}).get(name, {}) for lane in _LANES}
    cells = {lane: row[column] for lane, row in rows.items() if column in row}
    if not cells:
        return ""
    works = [lane for lane, cell in cells.items() if cell == "yes"]
    if len(works) == len(cells):
        return "yes"
    return f"transformers {_LANES[works[0]]}" if works else "no"


def _marks(table: Table, name: str) -> tuple[str, ...]:
    return tuple(mark(table, name, column) for column in _HEADINGS)


def _summary(table: Table) -> str:
    """A line for all kinds of which the same is true, and one column for all back ends."""
    lines: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name, kind in KINDS.items():
        others = [mark(table, name, column) for column in ("prune", "distill")]
        groups = lines.setdefault((_inverted(table, name), _back_ends(table, name), *others), {})
        groups.setdefault(kind.group, []).append(kind.title)
    rows = [
        ("<br>".join(f"**{group}**: {', '.join(titles)}" for group, titles in groups.items()), *marks)
        for marks, groups in lines.items()
    ]
    return _markdown(("models", "invert", "quantize", "prune", "distill"), rows)


def _inverted(table: Table, name: str) -> str:
    """The two ways in one cell."""
    sparsely, densely = mark(table, name, "invert"), mark(table, name, "invert densely")
    return sparsely if sparsely == densely else f"densely ({densely})" if densely != "yes" else "densely"


def _back_ends(table: Table, name: str) -> str:
    marks = {column: mark(table, name, column) for column in _BACK_ENDS}
    works = [column for column, each in marks.items() if each == "yes"]
    if len(works) == len(marks):
        return "all back ends"
    partly = [f"{column} ({each})" for column, each in marks.items() if each.startswith("transformers")]
    others = [column for column, each in marks.items() if each in ("no", "")]
    return f"all but {', '.join(others)}" if not partly else ", ".join([*works, *partly])


def _whole(table: Table) -> str:
    """A line for each kind, and why what is refused is refused."""
    rows = [(f"{kind.title} ({kind.group})", *_marks(table, name)) for name, kind in KINDS.items()]
    # Columns by kind, by reason.
    reasons: dict[str, dict[str, list[str]]] = {}
    for name, kind in KINDS.items():
        for column, heading in _HEADINGS.items():
            cells = {lane[name][column] for lane in table.values() if column in lane.get(name, {})} - {"yes"}
            for reason in sorted(map(_shortened, cells)):
                reasons.setdefault(reason, {}).setdefault(kind.title, []).append(heading)
    places = {
        reason: "; ".join(f"{title} ({', '.join(columns)})" for title, columns in kinds.items())
        for reason, kinds in reasons.items()
    }
    listed = "".join(f"- {places[reason]}: {reason}\n" for reason in reasons)
    head = ("models", *_HEADINGS.values())
    return f"{_markdown(head, rows)}\nWhat is refused, and why:\n\n{listed}"


def _shortened(reason: str) -> str:
    """What a refusal says of any model, without the name of the type, what else is served and what to do."""
    reason = re.sub(r"a '\w+' model", "this model", reason)
    parts = re.split(r"this model cannot(?: be shown single patches)?: ", reason, maxsplit=1)
    why = re.split(r"\. (?:Say|Families)|; use another", parts[-1])[0]
    return f"it cannot be shown single patches: {why}" if len(parts) > 1 else why


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---", *("---" for _ in head[1:])), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
