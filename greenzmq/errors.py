"""The errors that are greenzmq's own.

What libzmq answers stays pyzmq's: `zmq.Again`, `zmq.ContextTerminated`, `zmq.ZMQError`. Here is only what goes wrong
between a program and its hub. Every message names the culprit and the cure.
"""

from __future__ import annotations

__all__ = [
    "AmbiguousHubError",
    "BlockingCallError",
    "HubError",
    "MissingHubError",
    "Timeout",
    "UnknownHubError",
    "WatchError",
    "WrongHubError",
]


class HubError(RuntimeError):
    """Something is wrong between a greenlet and its hub; the base of all errors below but `Timeout`."""


class UnknownHubError(HubError, LookupError):
    """No hub has this name, or what it names is not a hub."""


class MissingHubError(HubError, ImportError):
    """The hub is known, but the package it runs on is not installed."""


class AmbiguousHubError(HubError):
    """Two hubs live in this thread and nothing says which of them is meant."""


class BlockingCallError(HubError):
    """A call that has to wait was made where waiting would stop the loop itself."""


class WrongHubError(HubError):
    """A socket on which greenlets of one hub wait was used on another hub."""


class WatchError(HubError):
    """A watch cannot be started: it is closed, or its file descriptor is watched already."""


class Timeout(BaseException):
    """The time given to a `with hub.timeout(seconds):` block is over.

    A `BaseException`, as `gevent.Timeout` and `eventlet.Timeout` are, so that an ``except Exception`` on the way
    does not swallow it.

    Parameters
    ----------
    seconds : float, optional
        The time that was given, in seconds.

    Examples
    --------
    >>> Timeout(0.5)
    Timeout(0.5)
    >>> str(Timeout(0.5))
    '0.5 seconds'
    """

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__(*(() if seconds is None else (seconds,)))
        self.seconds = seconds

    def __str__(self) -> str:
        return "" if self.seconds is None else f"{self.seconds:g} second{'' if self.seconds == 1 else 's'}"
