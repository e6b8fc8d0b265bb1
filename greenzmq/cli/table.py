"""A table: drawn by rich on a terminal that has it, in plain characters everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import console

__all__ = ["plain", "show"]

Row = Sequence[str]


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
    if console.is_terminal(sys.stdout) and _show_rich(headings, rows, left):
        return
    console.say(f"\n{plain(headings, rows, left=left)}\n")


def plain(headings: Row, rows: Sequence[Row], *, left: int = 1) -> str:
    """The table as text, without a character that is not in its cells but blanks, hyphens and newlines."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Row) -> str:
        columns = enumerate(zip(cells, widths, strict=True))
        return "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in columns).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def _show_rich(headings: Row, rows: Sequence[Row], left: int) -> bool:
    """Draw the table with rich; False if it is not installed."""
    tables, consoles, boxes = console.rich("table"), console.rich("console"), console.rich("box")
    if not (tables and consoles and boxes):
        return False
    table = tables.Table(box=boxes.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    consoles.Console(markup=False, highlight=False, emoji=False).print(table)
    return True
