"""The errors that are greenzmq's own.

For errors of libzmq, pyzmq's exceptions are raised: `zmq.Again`, `zmq.ContextTerminated`, `zmq.ZMQError`. The errors
here are about a program and its hub, or about a call that the program has forbidden itself. Each message names the
culprit and the cure.
"""

from __future__ import annotations

__all__ = [
    "AmbiguousHubError",
    "BarrierTimeout",
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
    """Something is wrong between a greenlet and its hub. The base class of most errors of greenzmq."""


class UnknownHubError(HubError, LookupError):
    """No hub has this name, or what it names is not a hub."""


class MissingHubError(HubError, ImportError):
    """The hub is known, but the package it runs on is not installed."""


class AmbiguousHubError(HubError):
    """gevent and eventlet both have a hub in this thread, or both have patched the process, and none was chosen."""


class BlockingCallError(HubError):
    """A call that has to wait was made where the wait would stop the loop itself: in a callback or a coroutine."""


class WrongHubError(HubError):
    """Two hubs would be used at once.

    Either greenlets of one hub wait on a socket that was used on another hub; or the program has chosen another hub
    than the one on which this greenlet runs, so that a wait would stop the running one.
    """


class PatchWarning(RuntimeWarning):
    """`greenzmq.patch` or `greenzmq.unpatch` could not replace every name. The message lists those that it left."""


class PyobjRefusedError(RuntimeError):
    """``Context(pyobj=False)`` or ``$GREENZMQ_PYOBJ`` refuses `Socket.send_pyobj` and `recv_pyobj`."""


class WatchError(HubError):
    """A watch cannot be started: it is closed, or its file descriptor is watched already."""


class Timeout(TimeoutError):  # noqa: N818  # the name that gevent and eventlet give theirs
    """The time limit of a ``with hub.timeout(seconds):`` block, or of `Task.get`, is over.

    The block raises it at its end. Inside of the block, the call that waits raises a `TimeLimitExpired`.

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


class BarrierTimeout(Timeout):
    """The time of `Socket.wait_connected`, `wait_subscribed` or `wait_drained` is over; the message tells what it saw.

    Parameters
    ----------
    seconds : float, optional
        The time that was given, in seconds.
    seen : str
        What the barrier knows.
    """

    def __init__(self, seconds: float | None = None, seen: str = "") -> None:
        super().__init__(seconds)
        self.seen = seen

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.seen}" if self.seen else super().__str__()


class TimeLimitExpired(BaseException):
    """Raised inside of a ``with hub.timeout(seconds):`` block, by the call that waits when the time is over.

    It is a `BaseException`, so that an ``except Exception`` inside of the block does not swallow it. At the end of the
    block a `Timeout` takes its place. So only code inside of the block sees it: a ``finally``, or an ``except
    BaseException``, which should raise it again.

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
            "at the end of its with block this becomes a greenzmq.Timeout"
        )


def _in_words(seconds: float) -> str:
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"
