"""For the owner of a program that hangs: which greenlets wait, for what, since when, and where in the code.

No list of waiting greenlets is kept while a program runs. Each parked greenlet has a `Waiter`, which the garbage
collector can find, and which has an attribute for what it waits for: `Waiter.reason`. Only this module puts reasons
into words. So a program pays next to nothing until somebody asks. Then it costs a walk over all objects of the process:
about 10 ms for a million of them.

A program that has ``GREENZMQ_DUMP_SIGNAL=USR1`` in its environment calls `dump` when it gets that signal; see
`dump_on_signal`.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import zmq
from greenlet import getcurrent
from zmq.backend import Socket as BackendSocket

from .polling.poller_state import PollerState
from .process import unpatched
from .process.objects import objects_of
from .sockets.directions import POLLIN, POLLOUT, Direction
from .sockets.messages import Party, has_ended
from .sockets.sleeping import SleepingThread, sleeping_threads
from .sockets.socket import Socket
from .task_frames import called, is_task, task_frames
from .waiting.reasons import DESCRIPTOR, NEXT_TURN, POLL, PROXY, SLEEP, THREAD, Reason
from .waiting.waiter import Waiter

if TYPE_CHECKING:
    from greenlet import greenlet

    from .hubs import Hub

__all__ = [
    "ParkedGreenlet",
    "describe",
    "dump",
    "dump_on_signal",
    "install_from_environment",
    "parked_waiters",
    "report",
    "waiter_of",
    "waiters",
]

#: The environment variable that names the signal on which to call `dump`.
ENVIRONMENT = "GREENZMQ_DUMP_SIGNAL"

#: Code in these folders is the library's. The first frame outside of them shows where a greenlet waits.
_LIBRARY = tuple(os.path.dirname(file) + os.sep for file in (__file__, zmq.__file__))
_HUBS = os.path.join(os.path.dirname(__file__), "hubs") + os.sep
#: The most objects of a Poller, and the most frames of a running thread, that are shown.
_SHOWN = 4
_FRAMES = 12

#: The signals that POSIX does not allow a program to handle.
_UNCATCHABLE = ("SIGKILL", "SIGSTOP")


class ParkedGreenlet(NamedTuple):
    """A parked greenlet, as it was when `waiters` was called.

    Attributes
    ----------
    call : str
        The call in which it waits: ``"recv_multipart"``, ``"poll"``, ``"join"``, ``"sleep"``, ``"term"``, ….
    what : str
        What it waits for, in words.
    direction : str
        ``"in"``, ``"out"``, or both joined by ``|``; empty if it waits neither to receive nor to send.
    socket : Socket or None
        The socket, if it waits on one alone.
    type, endpoint : str
        That socket's type, and the address to which it was bound or connected last; empty where there is none.
    hub : Hub
        The hub on which it waits.
    thread : str
        The name of that hub's thread.
    since : float
        When the wait began, in seconds, as `time.monotonic` counts them.
    deadline : float or None
        When the wait will be over at the latest, counted like `since`; None if it may last for ever.
    stack : tuple of traceback.FrameSummary
        Where in the code it waits, innermost first; without the frames of greenzmq and pyzmq.
    behind : greenlet or None
        Another greenlet, which has received (or sent) the first parts of a message one by one, so that the rest of the
        message belongs to it. This greenlet waits until that one has come to the end of the message, or has ended.
    behind_stack : tuple of traceback.FrameSummary
        Where in the code that other greenlet is, as in `stack`.
    greenlet : greenlet or asyncio.Task
        The parked greenlet itself.
    """

    call: str
    what: str
    direction: str
    socket: Any
    type: str
    endpoint: str
    hub: Hub
    thread: str
    since: float
    deadline: float | None
    stack: tuple[traceback.FrameSummary, ...]
    behind: greenlet | None
    behind_stack: tuple[traceback.FrameSummary, ...]
    greenlet: greenlet

    @property
    def place(self) -> str:
        """The innermost frame of `stack`, as ``"file.py:12 in function"``.

        Empty if the call is itself the function of a task, as after ``hub.spawn(socket.recv)``.
        """
        return _place(self.stack)

    def __str__(self) -> str:
        now = monotonic()
        left = "no deadline" if self.deadline is None else f"{self.deadline - now:.3g} s left"
        return " ".join(filter(None, (self.call, self.what, f"for {now - self.since:.3g} s, {left}")))


def waiters() -> list[ParkedGreenlet]:
    """Find every greenlet that waits in a call of greenzmq, on all hubs and in all threads; and every asyncio task.

    A task is shown where it waits. If it has made the call for another task, it is shown all the same.

    Greenlets that wait in a call of their runtime, such as ``gevent.sleep``, are not found. Nor are those that began to
    wait before a call of `gc.freeze`.

    Returns
    -------
    list of ParkedGreenlet
        Ordered by thread, then by the time of waiting, the longest first.

    Notes
    -----
    Switches: never. May be called in any greenlet, hub callback, signal handler and thread. Other threads go on
    meanwhile, so their greenlets may no longer wait when this returns.
    """
    everybody: list[Any] = [*parked_waiters(), *sleeping_threads()]
    found = [parked for waiter in everybody if (parked := describe(waiter)) is not None]
    return sorted(found, key=lambda parked: (parked.thread, parked.hub.thread_id, parked.since))


def dump(file: TextIO | None = None) -> None:
    """Print `waiters`, and the frames in which each thread is right now.

    Parameters
    ----------
    file : text file, optional
        The file to print to; None means `sys.stderr`.

    Notes
    -----
    Switches: never. May be called wherever `waiters` may be called.
    """
    (sys.stderr if file is None else file).write(report())


def report() -> str:
    """Return the text that `dump` prints."""
    found = waiters()
    lines = [f"{len(found)} greenlet{'s wait' if len(found) != 1 else ' waits'} in greenzmq, process {os.getpid()}"]
    hub = None
    for parked in found:
        if parked.hub is not hub:
            hub = parked.hub
            lines.append(f"on {hub!r}:")
        lines.append(f"  {parked}")
        lines += _places(parked.stack)
        if parked.behind_stack:
            lines.append("   the greenlet that has begun the message is in:")
            lines += _places(parked.behind_stack)
    names = {thread.ident: thread.name for thread in unpatched.known_threads()}
    names |= {parked.hub.thread_id: parked.thread for parked in found}
    for ident, frame in sys._current_frames().items():
        lines.append(f"thread {names.get(ident, ident)} is in:")
        frames = (each for each in _frames(frame) if each.f_code.co_filename != __file__)
        lines += _places([_summary(each) for each, _ in zip(frames, range(_FRAMES), strict=False)])
    return "\n".join(lines) + "\n"


def _place(stack: tuple[traceback.FrameSummary, ...]) -> str:
    return "".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in stack[:1])


def _places(stack: Any) -> list[str]:
    return [f'    File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in stack]


# -- on a signal -------------------------------------------------------------------------------------------------------


def dump_on_signal(name: str) -> None:
    """Install a signal handler that writes what `dump` prints to file descriptor 2 (standard error).

    If ``GREENZMQ_DUMP_SIGNAL=USR1`` is in the environment, the import of greenzmq calls this; otherwise greenzmq
    installs no handler. It works while a greenlet keeps the hub busy, and while the hub sleeps. It is an ordinary
    handler of Python's, so it runs in the main thread, as soon as C code there returns or checks for signals.

    A handler that was installed before is called after the dump. A handler that is installed later replaces this one;
    ``loop.add_signal_handler`` of asyncio does so, too.

    Parameters
    ----------
    name : str
        ``"USR1"`` or ``"SIGUSR1"``, and so on.

    Raises
    ------
    ValueError
        No signal that a program can handle has this name here.
    RuntimeError
        This is not the main thread, or not the main interpreter.
    """
    known = {each: number for each, number in signal.Signals.__members__.items() if each not in _UNCATCHABLE}
    wanted = name.strip().upper()
    number = known.get(wanted if wanted.startswith("SIG") else f"SIG{wanted}")
    if number is None:
        names = ", ".join(sorted(each.removeprefix("SIG") for each in known))
        raise ValueError(f"no signal that a program can handle is named {name!r} here; use one of {names}")
    before = signal.getsignal(number)

    def handle(received: int, frame: FrameType | None) -> None:
        _dump_now()
        if callable(before):
            before(received, frame)

    try:
        signal.signal(number, handle)
    except ValueError as error:
        raise RuntimeError(
            f"{number.name}: only the main thread can install a signal handler; call this there"
        ) from error


def install_from_environment() -> None:
    """Call `dump_on_signal` if ``GREENZMQ_DUMP_SIGNAL`` is set. If that fails, only warn."""
    name = os.environ.get(ENVIRONMENT, "")
    if not name:
        return
    try:
        dump_on_signal(name)
    except (ValueError, RuntimeError) as error:
        warnings.warn(f"{ENVIRONMENT} has no effect: {error}", RuntimeWarning, stacklevel=3)


def _dump_now() -> None:
    """Write the report from a signal handler.

    Not to `sys.stderr`, since the signal may have interrupted that in the middle of a write. And without an exception,
    which would come out of whatever code the signal has interrupted.
    """
    try:
        text = report()
    except Exception:
        text = traceback.format_exc()
    try:
        with io.FileIO(2, "w", closefd=False) as file:
            rest = memoryview(text.encode(errors="replace"))
            while rest:
                rest = rest[file.write(rest) or 0 :]
    except OSError:  # standard error is closed, or its reader has gone
        pass


# -- finding them ------------------------------------------------------------------------------------------------------


def parked_waiters() -> list[Waiter]:
    """The waiters of all parked greenlets, of all hubs and threads."""
    # `getattr` with a default, since a waiter that another thread is just making has no attributes yet.
    return [waiter for waiter in objects_of(Waiter) if getattr(waiter, "parked", False)]


def waiter_of(greenlet: greenlet) -> Waiter | None:
    """Return the waiter with which a greenlet is parked. None if it runs, is about to run, or only yields."""
    for frame in _frames(greenlet.gr_frame):
        waiter = _parked_in(frame)
        if waiter is not None:
            return waiter if waiter.parked and waiter.reason is not NEXT_TURN else None
    return None


def describe(waiter: Waiter | SleepingThread) -> ParkedGreenlet | None:
    """Describe the greenlet of a waiter. None if it is not parked any more."""
    greenlet = getattr(waiter, "party", None)  # not yet set in a new waiter, and None when the wait is over
    if greenlet is None or waiter.hub.has_ended():
        return None
    # Each once, and at first: `Waiter.close`, in another thread, may drop them at any time.
    reason, queue, timeout = waiter.reason, waiter.queue, waiter.timeout
    is_elsewhere = is_task(greenlet) or isinstance(waiter, SleepingThread)  # not in `Waiter.park`
    frames = _party_frames(greenlet, waiter.hub) if is_elsewhere else _own_frames(greenlet)
    at = 0 if is_elsewhere else next((n for n, frame in enumerate(frames) if _parked_in(frame) is waiter), None)
    if at is None or not waiter.parked:
        return None
    end = next((n for n, f in enumerate(frames[at:], at) if not f.f_code.co_filename.startswith(_LIBRARY)), len(frames))
    ours, theirs = frames[at:end], frames[end:]
    subject = _subject(reason, queue)
    behind = None if subject.message_owner is greenlet else subject.message_owner
    behind_stack = () if behind is None else _stack(_party_frames(behind, waiter.hub))
    return ParkedGreenlet(
        call=called(None if is_elsewhere else [frame.f_code.co_name for frame in ours if _is_public(frame)], queue),
        what=subject.what if behind is None else f"{subject.what}, {_behind(subject, behind, behind_stack)},",
        direction=subject.direction,
        socket=subject.socket,
        type=type_of(subject.socket),
        endpoint=endpoint_of(subject.socket),
        hub=waiter.hub,
        thread=waiter.hub.thread_name,
        since=waiter.since,
        deadline=None if timeout is None else waiter.since + timeout,
        stack=_stack(theirs),
        behind=behind,
        behind_stack=behind_stack,
        greenlet=greenlet,
    )


def _behind(subject: _WaitedFor, owner: greenlet, stack: tuple[traceback.FrameSummary, ...]) -> str:
    """Put into words that a greenlet waits for another one, `owner`, to come to the end of a message."""
    verb = "receive" if subject.direction == "in" else "send"
    if has_ended(owner):
        return f"behind a message that {owner!r} had begun to {verb} when it ended"
    where = _place(stack)
    return f"behind a message that {owner!r} has begun to {verb}{where and f'; that one is at {where}'}"


def _top_of(greenlet: greenlet, hub: Hub) -> FrameType | None:
    """Return the innermost frame of a greenlet of this hub, also if it runs, in this thread or in another."""
    if greenlet is getcurrent():
        return sys._getframe(1)
    if greenlet.gr_frame is None and not greenlet.dead:
        return sys._current_frames().get(hub.thread_id)
    return greenlet.gr_frame


def _own_frames(greenlet: greenlet) -> list[FrameType]:
    return list(_frames(sys._getframe(1) if greenlet is getcurrent() else greenlet.gr_frame))


def _party_frames(party: Party, hub: Hub) -> list[FrameType]:
    """The frames of a greenlet or task, innermost first."""
    return task_frames(party) if is_task(party) else list(_frames(_top_of(party, hub)))


def _stack(frames: Iterable[FrameType]) -> tuple[traceback.FrameSummary, ...]:
    """Summarize the frames of the program. Of a parked greenlet, the runtime's frames inside of `park` are left out."""
    frames = list(frames)
    at = next((number for number, frame in enumerate(frames) if _is_parking(frame)), 0)
    return tuple(_summary(frame) for frame in frames[at:] if not frame.f_code.co_filename.startswith(_LIBRARY))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield this frame, its caller's, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_parking(frame: FrameType) -> bool:
    return frame.f_code is Waiter.park.__code__


def _parked_in(frame: FrameType) -> Waiter | None:
    """Return the waiter if this is a frame of `Waiter.park`. Nothing else in greenzmq reads the locals of a frame."""
    return frame.f_locals.get("self") if _is_parking(frame) else None


def _is_public(frame: FrameType) -> bool:
    """Whether the frame is a call that a program may have made."""
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    return not (name.startswith(("_", "<")) or file.startswith(_HUBS))


def _summary(frame: FrameType) -> traceback.FrameSummary:
    code = frame.f_code
    return traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name, lookup_line=False)


# -- what they wait for ------------------------------------------------------------------------------------------------


class _WaitedFor(NamedTuple):
    """The reason of a wait, in words."""

    what: str
    direction: str = ""
    socket: Any = None
    message_owner: greenlet | None = None


def _subject(reason: Reason, queue: object) -> _WaitedFor:
    """Put the `reason` of a waiter into words. `queue` is the queue in which it stands."""
    try:
        if reason is None:
            return _WaitedFor("for an unknown reason")
        if type(reason) is tuple:
            return _KINDS[reason[0]](*reason[1:])
        if isinstance(reason, PollerState):
            return _poller(reason)
        if isinstance(reason, Socket) and isinstance(queue, Direction):
            return _operation(reason, queue)
        return _WaitedFor(_describe(reason))
    except Exception as error:  # of a `__repr__`, for example, or because another thread changes these objects
        return _WaitedFor(f"? ({error!r})")


def type_of(socket: Any) -> str:
    """Return the name of a socket's type, such as ``"PULL"``."""
    return "" if socket is None else str(getattr(socket, "_type_name", "?"))


def endpoint_of(socket: Any) -> str:
    """Return the address to which a socket was bound or connected last. Does not clear the signal of the socket."""
    if socket is None or socket.closed:
        return ""
    try:
        endpoint: Any = BackendSocket.get(socket, zmq.LAST_ENDPOINT)
    except zmq.ZMQError:  # its context has ended
        return ""
    return str(endpoint, errors="replace")


def _describe(what: Any) -> str:
    """Put a socket, a file descriptor, or another object that is waited for into words."""
    if isinstance(what, BackendSocket):
        return f"{type_of(what)} {'closed' if what.closed else endpoint_of(what) or 'without address'}"
    return f"fd {what}" if isinstance(what, int) else repr(what)


def _names(events: int) -> str:
    known = ((POLLIN, "in"), (POLLOUT, "out"))
    return "|".join(name for event, name in known if events & event)


def _operation(socket: Socket, direction: Direction) -> _WaitedFor:
    monitored = socket._greenzmq_monitored
    if monitored is not None:
        return _monitor(monitored())
    message = direction.mid_message
    owner = None if message is None else message.owner()
    return _WaitedFor(_describe(socket), _names(direction.event), socket, owner)


def _monitor(socket: Any) -> _WaitedFor:
    return _WaitedFor("events of " + ("a socket that is gone" if socket is None else _describe(socket)), "", socket)


def _socket_poll(socket: Any, events: int) -> _WaitedFor:
    return _WaitedFor(f"{_describe(socket)} {_names(events)}", _names(events), socket)


def _poller(state: PollerState) -> _WaitedFor:
    entries = list(state.entries.values())
    shown = [f"{_describe(entry.what)} {_names(entry.events)}" for entry in entries[:_SHOWN]]
    more = ["…"] * (len(entries) > _SHOWN)
    return _WaitedFor(f"one of {len(entries)}: {', '.join(shown + more)}")


def _proxy(frontend: Any, backend: Any, capture: Any, control: Any) -> _WaitedFor:
    what = f"{_describe(frontend)} <-> {_describe(backend)}"
    for name, socket in (("capture", capture), ("control", control)):
        if socket is not None:
            what += f", {name} {_describe(socket)}"
    return _WaitedFor(what)


def _descriptor(number: int, read: bool, write: bool) -> _WaitedFor:
    directions = "|".join(name for name, wanted in (("in", read), ("out", write)) if wanted)
    return _WaitedFor(f"fd {number} {directions}", directions)


def _in_thread(function: Any) -> _WaitedFor:
    return _WaitedFor(getattr(function, "__qualname__", None) or repr(function))


#: For each kind of reason in `greenzmq.waiting.reasons`, the function that puts it into words.
_KINDS: dict[str, Callable[..., _WaitedFor]] = {
    POLL: _socket_poll,
    DESCRIPTOR: _descriptor,
    THREAD: _in_thread,
    PROXY: _proxy,
    NEXT_TURN[0]: lambda: _WaitedFor("its next turn"),
    SLEEP[0]: lambda: _WaitedFor(""),
}
