"""Print a table: with rich on a terminal, else in plain characters. If it is too wide, each row becomes a block."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from . import console

__all__ = ["blocks", "fields", "plain", "show"]

Row = Sequence[str]

GAP = "  "
"""Between two columns."""

NARROWEST = 10
"""The least number of columns for a text beside its label, even if the terminal is narrower."""


def show(headings: Row, rows: Sequence[Row], *, left: int = 1) -> None:
    """Print a table to standard output, between blank lines.

    Parameters
    ----------
    headings : sequence of str
        The heading of each column.
    rows : sequence of sequence of str
        The cells of each row.
    left : int
        How many columns, from the left, contain words. The others contain numbers, and are aligned to the right.
    """
    columns = console.width()
    if columns is not None and len(GAP.join("-" * width for width in _widths(headings, rows))) > columns:
        console.say(f"\n{blocks(headings, rows, columns)}\n")
    elif not (console.can_draw(sys.stdout) and _show_rich(headings, rows, left)):
        console.say(f"\n{plain(headings, rows, left=left)}\n")


def plain(headings: Row, rows: Sequence[Row], *, left: int = 1) -> str:
    """Return the table as text. It adds only blanks, hyphens and newlines to the characters of its cells."""
    widths = _widths(headings, rows)

    def line(cells: Row) -> str:
        columns = enumerate(zip(cells, widths, strict=True))
        return GAP.join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in columns).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def blocks(headings: Row, rows: Sequence[Row], columns: int) -> str:
    """Return the table as text of `columns` columns: for each row its first cell, and a line for each other cell."""
    named = [(first, list(zip(headings[1:], rest, strict=True))) for first, *rest in rows]
    return "\n\n".join(f"{first}\n{fields(cells, columns, indent=' ')}" for first, cells in named)


def fields(pairs: Sequence[tuple[str, str]], columns: int | None, *, indent: str = "") -> str:
    """Return a line of label and text for each pair. A text that does not fit goes on in the next line, below itself.

    Parameters
    ----------
    pairs : sequence of (str, str)
        The labels and the texts.
    columns : int or None
        The longest line; None means that there is no limit.
    indent : str
        The beginning of each line.
    """
    margin = max(len(label) for label, _ in pairs)
    beside = f"{indent}{' ' * margin}{GAP}"
    wrapper = textwrap.TextWrapper(
        width=sys.maxsize if columns is None else max(columns, len(beside) + NARROWEST),
        subsequent_indent=beside,
        break_on_hyphens=False,
    )
    return "\n".join(wrapper.fill(f"{indent}{label.ljust(margin)}{GAP}{text}") for label, text in pairs)


def _widths(headings: Row, rows: Sequence[Row]) -> list[int]:
    return [max(map(len, column)) for column in zip(headings, *rows, strict=True)]


def _show_rich(headings: Row, rows: Sequence[Row], left: int) -> bool:
    """Print the table with rich, as wide as `plain` makes it. Returns False if rich is not installed."""
    tables, consoles, boxes = console.rich("table"), console.rich("console"), console.rich("box")
    if not (tables and consoles and boxes):
        return False
    table = tables.Table(box=boxes.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.say()
    consoles.Console(markup=False, highlight=False, emoji=False).print(table)
    console.say()
    return True
