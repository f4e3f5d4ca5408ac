"""What notebooks show of records and datasets: HTML for `_repr_html_`.

It takes its colors from the page, dark or light, and needs neither style sheets nor scripts, which notebooks remove.
Names come from other people's checkpoints: every value is escaped.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

_MAX_LETTERS = 300
_LINE = "1px solid rgba(128,128,128,.35)"
_CELL = "padding:.25em .8em .25em 0;background:none;vertical-align:top"
_SOFT = "opacity:.75"
_PICTURE_PX = 100


def panel(title: str, *parts: Markup) -> str:
    """HTML of several parts below a title."""
    heading = Markup('<div style="font-weight:600;margin-bottom:.4em">{}</div>').format(one_line(title))
    body = Markup("").join(parts)
    return str(Markup('<div style="color:inherit;max-width:64em;line-height:1.4">{}{}</div>').format(heading, body))


def facts(pairs: Mapping[str, str]) -> Markup:
    """A table of two columns: names, and values in words; what is empty is left out."""
    rows = (
        Markup('<tr style="background:none"><th scope="row" style="{};text-align:left;font-weight:400;{}">{}</th>')
        .format(_CELL, _SOFT, one_line(name))
        + Markup('<td style="{};text-align:left">{}</td></tr>').format(_CELL, one_line(value))
        for name, value in pairs.items()
        if value
    )  # fmt: skip
    return _table(rows)


def table(lines: Sequence[Sequence[str]], caption: str = "") -> Markup:
    """A table of text, its headings first; all columns but the first stand at the right."""
    headings, *rows = lines
    parts = [_row("th", headings, f"border-bottom:{_LINE};font-weight:600")]
    parts += [_row("td", row, f"border-bottom:{_LINE}") for row in rows]
    return _table(parts, caption)


def strip(pictures: Iterable[tuple[bytes, Sequence[str]]], *, max_bytes: int) -> Markup:
    """Pictures beside each other, each with its lines below it; as many as fit into `max_bytes` of HTML.

    Args:
        pictures: a PNG, and the lines of it, the first of which names it.
    """
    figures, size = [], 0
    for png, lines in pictures:
        figure = _figure(png, lines)
        size += len(figure.encode())
        if size > max_bytes:
            break
        figures.append(figure)
    whole = Markup('<div style="display:flex;flex-wrap:wrap;gap:.6em;margin-top:.6em">{}</div>')
    return whole.format(Markup("").join(figures)) if figures else Markup("")


def one_line(value: Any) -> Markup:
    """A value as escaped text: one line of printable characters, cut where it is long."""
    shown = "".join(sign if sign.isprintable() else " " for sign in str(value)[: 2 * _MAX_LETTERS])
    text = " ".join(shown.split())
    return escape(text if len(text) <= _MAX_LETTERS else f"{text[: _MAX_LETTERS - 1]}…")


def _table(rows: Iterable[Markup], caption: str = "") -> Markup:
    head = Markup('<caption style="text-align:left;caption-side:top;color:inherit;padding:.4em 0;{}">{}</caption>')
    return Markup(
        '<table style="border-collapse:collapse;color:inherit;font-size:inherit;border:none;margin:0">{}{}</table>'
    ).format(head.format(_SOFT, one_line(caption)) if caption else "", Markup("").join(rows))


def _row(tag: str, cells: Sequence[str], style: str) -> Markup:
    scope = Markup(' scope="col"') if tag == "th" else ""
    parts = (
        Markup('<{}{} style="{};{};text-align:{};white-space:nowrap">{}</{}>').format(
            tag, scope, _CELL, style, "right" if number else "left", one_line(cell), tag
        )
        for number, cell in enumerate(cells)
    )
    return Markup('<tr style="background:none">{}</tr>').format(Markup("").join(parts))


def _figure(png: bytes, lines: Sequence[str]) -> Markup:
    name, *rest = map(one_line, lines)
    return Markup(
        '<figure style="margin:0;width:{0}px"><img alt="{1}" width="{0}" '
        'style="image-rendering:pixelated;margin:0" src="data:image/png;base64,{2}">'
        '<figcaption style="font-size:.85em;overflow-wrap:anywhere">{1}{3}</figcaption></figure>'
    ).format(
        _PICTURE_PX,
        name,
        base64.b64encode(png).decode(),
        Markup("").join(Markup('<br><span style="{}">{}</span>').format(_SOFT, line) for line in rest),
    )
