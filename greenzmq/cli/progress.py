"""A progress bar on a terminal; nothing where nobody looks or rich is not installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from . import console

__all__ = ["bar"]


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
    bars, consoles = console.rich("progress"), console.rich("console")
    if not (bars and consoles and console.is_terminal(sys.stderr)):
        yield lambda done, label=None: None
        return
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=consoles.Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done, label=None: progress.update(task, completed=done, description=label)
