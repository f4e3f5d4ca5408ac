"""A table for a terminal of any width: headings and labels are folded, columns are left out, no digit is ever cut."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

# What the borders take of a line: of each column, and once.
_OF_COLUMN, _OF_TABLE = 3, 1
# A label is folded to no less.
_LABEL_WIDTH = 20


@dataclass
class FittedTable:
    """Cells as plain text; rich draws it as wide as there is room.

    Args:
        title: above it.
        headings: of the columns, the first of which has labels.
        lines: cells of each row.
        caption: below it.
        texts: numbers of the columns whose cells are words, which may be folded; the others are figures.
        expendable: headings in the order in which columns are left out where there is no room; then come the others,
            last one first, and the first two never.
        sections: numbers of the rows that a line is drawn behind.
    """

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    caption: str = ""
    texts: Collection[int] = (0,)
    expendable: Sequence[str] = ()
    sections: Collection[int] = field(default_factory=frozenset)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, widths = self._layout(options.max_width)
        left_out = [heading for number, heading in enumerate(self.headings) if number not in columns]
        notes = [self.caption, f"no room for: {', '.join(left_out)}; the card has them" if left_out else ""]
        table = Table(
            title=escape(self.title),
            title_justify="left",
            caption=escape("\n".join(filter(None, notes))) or None,
            caption_justify="left",
        )
        for number, width in zip(columns, widths):
            is_text = number in self.texts
            table.add_column(
                escape(self.headings[number]), justify="left" if is_text else "right", width=width, overflow="fold"
            )
        for number, line in enumerate(self.lines):
            table.add_row(*(escape(line[column]) for column in columns), end_section=number in self.sections)
        yield table

    def _layout(self, room: int) -> tuple[list[int], list[int]]:
        """Numbers of the columns that are shown, and their widths."""
        columns = list(range(len(self.headings)))
        going = [self.headings.index(heading) for heading in self.expendable if heading in self.headings]
        going += [column for column in reversed(columns[2:]) if column not in going]
        while True:
            widest = [self._widest(column) for column in columns]
            widths = _shared(widest, [self._narrowest(column) for column in columns], self.texts, columns, room)
            if widths is not None or not going:
                return columns, widths or widest
            columns.remove(going.pop(0))

    def _widest(self, column: int) -> int:
        return max(map(cell_len, (self.headings[column], *(line[column] for line in self.lines))))

    def _narrowest(self, column: int) -> int:
        if column in self.texts:
            return min(_LABEL_WIDTH, self._widest(column))
        words = self.headings[column].split() or [""]
        return max(map(cell_len, (*words, *(line[column] for line in self.lines))))


def _shared(
    widest: Sequence[int], narrowest: Sequence[int], texts: Collection[int], columns: Sequence[int], room: int
) -> list[int] | None:
    """Widths that fit in the room, None if there are none: headings are folded first, then words."""
    borders = _OF_COLUMN * len(columns) + _OF_TABLE
    if sum(widest) + borders <= room:
        return list(widest)
    widths = [wide if column in texts else narrow for column, wide, narrow in zip(columns, widest, narrowest)]
    excess = sum(widths) + borders - room
    # The longest words give first.
    for place in sorted(range(len(columns)), key=lambda place: -widths[place]):
        given = min(max(excess, 0), widths[place] - narrowest[place])
        widths[place] -= given
        excess -= given
    return widths if excess <= 0 else None
