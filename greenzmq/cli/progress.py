"""A progress bar on a terminal; nothing where nobody looks or rich is not installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from . import console

__all__ = ["bar"]

FRAMES = 20
"""In a second. The demo on one hub takes less than half of one."""


@contextlib.contextmanager
def bar(label: str, total: int | None) -> Iterator[Callable[..., object]]:
    """Show a bar while the block runs, and take it away afterwards.

    Parameters
    ----------
    label : str
        What is going on.
    total : int or None
        What makes it complete; None if nobody knows yet.

    Yields
    ------
    callable
        To be called with how much is done and, if it has changed, with what is going on.
    """
    bars, consoles, tables = console.rich("progress"), console.rich("console"), console.rich("table")
    if not (bars and consoles and tables and console.can_draw(sys.stderr)):
        yield lambda done, label=None: None
        return
    whole = tables.Column(no_wrap=True)  # on a narrow terminal the bar alone gets shorter
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(table_column=whole),
        bars.TimeElapsedColumn(table_column=whole),
    )
    errors = consoles.Console(stderr=True)
    with bars.Progress(*columns, console=errors, refresh_per_second=FRAMES, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done, label=None: progress.update(task, completed=done, description=label)
