"""A table: drawn by rich on a terminal that has it, else in plain characters; where it is too wide, a block a row."""

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
"""Columns for a text beside its label, on however narrow a terminal."""


def show(headings: Row, rows: Sequence[Row], *, left: int = 1) -> None:
    """Print a table to standard output, between blank lines.

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    rows : sequence of sequence of str
        The cells.
    left : int
        So many columns, from the left, hold words; the rest holds numbers and is aligned on the right.
    """
    columns = console.width()
    if columns is not None and len(GAP.join("-" * width for width in _widths(headings, rows))) > columns:
        console.say(f"\n{blocks(headings, rows, columns)}\n")
    elif not (console.can_draw(sys.stdout) and _show_rich(headings, rows, left)):
        console.say(f"\n{plain(headings, rows, left=left)}\n")


def plain(headings: Row, rows: Sequence[Row], *, left: int = 1) -> str:
    """The table as text, without a character that is not in its cells but blanks, hyphens and newlines."""
    widths = _widths(headings, rows)

    def line(cells: Row) -> str:
        columns = enumerate(zip(cells, widths, strict=True))
        return GAP.join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in columns).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def blocks(headings: Row, rows: Sequence[Row], columns: int) -> str:
    """The table for lines of so many columns: each row's first cell, and below it a line for each of the others."""
    named = [(first, list(zip(headings[1:], rest, strict=True))) for first, *rest in rows]
    return "\n\n".join(f"{first}\n{fields(cells, columns, indent=' ')}" for first, cells in named)


def fields(pairs: Sequence[tuple[str, str]], columns: int | None, *, indent: str = "") -> str:
    """Lines of a label and a text. A text that does not fit goes on below itself.

    Parameters
    ----------
    pairs : sequence of (str, str)
        The labels and the texts.
    columns : int or None
        How long a line may be; None is as long as need be.
    indent : str
        What each line begins with.
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
    """Draw the table with rich, as wide as `plain` is; False if it is not installed."""
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
