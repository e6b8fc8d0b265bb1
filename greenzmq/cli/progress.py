"""A progress bar on a terminal. Nothing is shown if standard error is no terminal, or rich is not installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from . import console

__all__ = ["bar"]

FRAMES = 20
"""Updates a second. The demo on one hub takes less than half a second."""


@contextlib.contextmanager
def bar(label: str, total: int | None) -> Iterator[Callable[..., object]]:
    """Show a bar while the block runs, and remove it afterwards.

    Parameters
    ----------
    label : str
        The text beside the bar.
    total : int or None
        The number at which the bar is complete; None if it is not known.

    Yields
    ------
    callable
        To be called with the number done so far, and optionally with a new label.
    """
    bars, consoles, tables = console.rich("progress"), console.rich("console"), console.rich("table")
    if not (bars and consoles and tables and console.can_draw(sys.stderr)):
        yield lambda done, label=None: None
        return
    whole = tables.Column(no_wrap=True)  # so that on a narrow terminal only the bar becomes shorter
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
