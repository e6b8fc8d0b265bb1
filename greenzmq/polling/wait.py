"""`wait`: the first of sockets, queues, events, tasks and descriptors that is ready."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from zmq.backend import Socket as BackendSocket

from ..waiting.limits import as_limit
from .entries import fileno, is_waitable
from .fd_set import POLLERR, POLLIN
from .poller import Poller

__all__ = ["wait"]


def wait(things: Iterable[Any], timeout: float | None = None, *, poller: type[Poller] = Poller) -> list[Any]:
    """Wait until one of `things` is ready, as `multiprocessing.connection.wait` does.

    Parameters
    ----------
    things : iterable
        Sockets, tasks, events, queues, groups, pools, whatever else is `Waitable`, file descriptors, and objects with a
        ``fileno()``. A socket or descriptor is ready when it can be read; with its events, as in ``(socket, POLLOUT)``,
        when one of these has come.
    timeout : float, optional
        Seconds; None waits for ever, 0 does not wait.

    Returns
    -------
    list
        Those that are ready, without their events, in the order in which they were given. It is empty when the time is
        over, and if there are no things. What became ready is not taken: another greenlet may be quicker to do so.

    Raises
    ------
    TypeError or ValueError
        The timeout is no number of seconds, or a thing is none of these.
    zmq.ZMQError
        As `Poller.poll`.

    Notes
    -----
    Switches: as `Poller.poll`.

    Examples
    --------
    >>> import greenzmq
    >>> commands, worker = greenzmq.Queue(), greenzmq.hub().spawn(len, "result")
    >>> commands.put("stop")
    >>> for what in greenzmq.wait([commands, worker], timeout=5):
    ...     if what is commands:
    ...         print(commands.get())
    stop
    """
    limit = as_limit(timeout, "wait()")
    wanted = [_with_events(thing) for thing in things]
    with poller() as polled:
        registered: dict[Any, int] = {}
        for what, events in wanted:
            registered[what] = registered.get(what, 0) | events
        for what, events in registered.items():
            polled.register(what, events)
        ready = dict(polled.poll(_milliseconds(limit)))
    return [what for what, events in wanted if ready.get(_key(what), 0) & (events | POLLERR)]


def _with_events(thing: Any) -> tuple[Any, int]:
    if isinstance(thing, tuple) and len(thing) == 2 and isinstance(thing[1], int):
        return thing[0], int(thing[1])
    return thing, POLLIN


def _milliseconds(limit: float | None) -> float | None:
    """`limit` as `Poller.poll` takes it: in whole milliseconds, and never less than was given."""
    if limit is None or math.isinf(limit):
        return None if limit is None or limit > 0 else 0
    return max(math.ceil(limit * 1000), 0)


def _key(what: Any) -> Any:
    """The object by which a Poller reports `what`."""
    return what if isinstance(what, (int, BackendSocket)) or is_waitable(what) else fileno(what)
