"""The errors that are greenzmq's own.

What libzmq answers stays pyzmq's: `zmq.Again`, `zmq.ContextTerminated`, `zmq.ZMQError`. Here is what goes wrong
between a program and its hub, and what a program has forbidden itself. Every message names the culprit and the cure.
"""

from __future__ import annotations

__all__ = [
    "AmbiguousHubError",
    "BlockingCallError",
    "HubError",
    "MissingHubError",
    "PatchWarning",
    "PyobjRefusedError",
    "TimeLimitExpired",
    "Timeout",
    "UnknownHubError",
    "WatchError",
    "WrongHubError",
]


class HubError(RuntimeError):
    """Something is wrong between a greenlet and its hub; the base of all errors below but those of time limits."""


class UnknownHubError(HubError, LookupError):
    """No hub has this name, or what it names is not a hub."""


class MissingHubError(HubError, ImportError):
    """The hub is known, but the package it runs on is not installed."""


class AmbiguousHubError(HubError):
    """Two hubs live in this thread and nothing says which of them is meant."""


class BlockingCallError(HubError):
    """A call that has to wait was made where waiting would stop the loop itself."""


class WrongHubError(HubError):
    """Two hubs at once: a socket on which greenlets of one hub wait was used on another, or a hub was said that is not
    the one on which this greenlet runs, so that a wait would stop that one.
    """


class PatchWarning(RuntimeWarning):
    """`greenzmq.patch` or `greenzmq.unpatch` could not change everything; the message says what it left as it was."""


class PyobjRefusedError(RuntimeError):
    """``Context(pyobj=False)`` or ``$GREENZMQ_PYOBJ`` refuses `Socket.send_pyobj` and `recv_pyobj`."""


class WatchError(HubError):
    """A watch cannot be started: it is closed, or its file descriptor is watched already."""


class Timeout(TimeoutError):  # noqa: N818  # the name that gevent and eventlet give theirs
    """The time is over that was given to a ``with hub.timeout(seconds):`` block, or to `Task.get`.

    The block raises it where it ends. What is thrown into the block until then is a `TimeLimitExpired`.

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
        return "" if self.seconds is None else _in_words(self.seconds)


class TimeLimitExpired(BaseException):
    """What a ``with hub.timeout(seconds):`` block meets where it waits when its time is over.

    A `BaseException`, so that an ``except Exception`` inside of the block does not swallow it, as it would a `Timeout`.
    Where the block ends, a `Timeout` takes its place. So it is seen inside of the block only: in a ``finally``, and by
    an ``except BaseException``, which should raise it again.

    Parameters
    ----------
    seconds : float
        The time that was given, in seconds.
    place : str
        Where the limit was set, as ``"file.py:12"``.
    """

    def __init__(self, seconds: float, place: str) -> None:
        super().__init__(seconds, place)
        self.seconds = seconds
        self.place = place

    def __str__(self) -> str:
        return (
            f"the limit of {_in_words(self.seconds)} set at {self.place} is over; "
            "the with block that has this limit turns this into greenzmq.Timeout, if it comes that far"
        )


def _in_words(seconds: float) -> str:
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"
