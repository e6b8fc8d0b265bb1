"""Who waits, for what, since when, and where in the code: for the owner of a program that hangs.

No list is kept while a program runs. A parked greenlet has a `Waiter`, which the garbage collector knows of, and which
has been given what the wait is for: `Waiter.reason`, put into words only here. So to ask costs a walk over all objects
of the process (some 10 ms for a million), and not to ask costs next to nothing.

With ``GREENZMQ_DUMP_SIGNAL=USR1`` in its environment a program dumps when it gets that signal; see `dump_on_signal`.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

import zmq
from greenlet import getcurrent
from zmq.backend import Socket as BackendSocket

from .polling.poller_state import PollerState
from .sockets.directions import POLLIN, POLLOUT, Direction
from .sockets.socket import Socket
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
    "report",
    "waiter_of",
    "waiters",
]

#: The environment variable that names the signal on which to dump.
ENVIRONMENT = "GREENZMQ_DUMP_SIGNAL"

#: Code in these folders is the library's; where a greenlet waits is told by the first frame outside of them.
_LIBRARY = tuple(os.path.dirname(file) + os.sep for file in (__file__, zmq.__file__))
_HUBS = os.path.join(os.path.dirname(__file__), "hubs") + os.sep
#: How many of a Poller's objects, and of a running thread's frames, a line has room for.
_SHOWN = 4
_FRAMES = 12

#: POSIX lets no program handle these.
_UNCATCHABLE = ("SIGKILL", "SIGSTOP")


@dataclass(frozen=True)
class ParkedGreenlet:
    """A greenlet that waits, as it was when `waiters` was called.

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
        When it will be over at the latest.
    stack : tuple of traceback.FrameSummary
        Where in the code it waits, innermost first; without the frames of greenzmq and pyzmq.
    behind : greenlet or None
        Another one, which has received (or sent) the first parts of a message by hand, and to which the rest belongs:
        this one waits until that one has come to the end of the message, or has ended.
    behind_stack : tuple of traceback.FrameSummary
        Where in the code that one is, as in `stack`.
    greenlet : greenlet
        Itself.
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
        """The innermost of `stack`, as ``"file.py:12 in function"``; empty for a call that is a task all by itself."""
        return _place(self.stack)

    def __str__(self) -> str:
        now = monotonic()
        left = "no deadline" if self.deadline is None else f"{self.deadline - now:.3g} s left"
        return " ".join(filter(None, (self.call, self.what, f"for {now - self.since:.3g} s, {left}")))


def waiters() -> list[ParkedGreenlet]:
    """Every greenlet that waits in a call of greenzmq, on all hubs and in all threads.

    Those that wait by means of their runtime, such as ``gevent.sleep``, are none of ours. Nor are those seen that began
    to wait before a `gc.freeze`.

    Returns
    -------
    list of ParkedGreenlet
        Ordered by thread, then by how long they have waited.

    Notes
    -----
    Switches: never. From any greenlet, hub callback, signal handler and thread; other threads go on meanwhile, so what
    it tells of them may be over.
    """
    found = [parked for waiter in _waiters() if (parked := describe(waiter)) is not None]
    return sorted(found, key=lambda parked: (parked.thread, parked.hub.thread_id, parked.since))


def dump(file: TextIO | None = None) -> None:
    """Print `waiters`, and what each thread does right now.

    Parameters
    ----------
    file : text file, optional
        Where to; None means `sys.stderr`.

    Notes
    -----
    Switches: never. From wherever `waiters` may be called.
    """
    (sys.stderr if file is None else file).write(report())


def report() -> str:
    """What `dump` prints."""
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
    names = {thread.ident: thread.name for thread in threading.enumerate()}
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
    """From now on, `dump` to file descriptor 2 (standard error) whenever the process gets a signal.

    ``GREENZMQ_DUMP_SIGNAL=USR1`` in the environment makes the import of greenzmq do it; nothing is installed unasked.
    It works while a greenlet keeps the hub busy, and while the hub is asleep: the handler is an ordinary one of
    Python's, which runs in the main thread, as soon as C code there returns or minds signals.

    A handler that was installed before is called after the dump. One that is installed later takes its place, and so
    does ``loop.add_signal_handler`` of asyncio.

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
        raise ValueError(f"no signal that can be handled here is named {name!r}; it takes one of {names}")
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
    """What ``GREENZMQ_DUMP_SIGNAL`` asks for, if it is set. If that cannot be, a warning says why, and no more."""
    name = os.environ.get(ENVIRONMENT, "")
    if not name:
        return
    try:
        dump_on_signal(name)
    except (ValueError, RuntimeError) as error:
        warnings.warn(f"{ENVIRONMENT} has no effect: {error}", RuntimeWarning, stacklevel=3)


def _dump_now() -> None:
    """In a signal handler: it may have interrupted `sys.stderr` itself, and what it raised would come out anywhere."""
    try:
        text = report()
    except Exception:
        text = traceback.format_exc()
    try:
        with io.FileIO(2, "w", closefd=False) as file:
            rest = memoryview(text.encode(errors="replace"))
            while rest:
                rest = rest[file.write(rest) or 0 :]
    except OSError:  # nobody reads it
        pass


# -- finding them ------------------------------------------------------------------------------------------------------


def _waiters() -> list[Waiter]:
    # Not isinstance: it asks objects for their __class__, and some have code of their own behind that. And one that
    # another thread is making just now has no attributes yet.
    return [what for what in gc.get_objects() if issubclass(type(what), Waiter) and getattr(what, "parked", False)]


def waiter_of(greenlet: greenlet) -> Waiter | None:
    """What a greenlet is parked with; None if it runs, is about to, or merely lets others have their turn."""
    for frame in _frames(greenlet.gr_frame):
        waiter = _parked_in(frame)
        if waiter is not None:
            return waiter if waiter.parked and waiter.reason is not NEXT_TURN else None
    return None


def describe(waiter: Waiter) -> ParkedGreenlet | None:
    """What there is to tell of a greenlet that waits; None if it goes on by now."""
    greenlet = getattr(waiter, "party", None)  # none before the wait, nor when it is over
    if greenlet is None:
        return None
    reason, queue = waiter.reason, waiter.queue  # before the question whether it is parked: `Waiter.close` drops them
    frames = list(_frames(sys._getframe() if greenlet is getcurrent() else greenlet.gr_frame))
    at = next((n for n, frame in enumerate(frames) if _parked_in(frame) is waiter), None)
    if at is None or not waiter.parked:
        return None
    end = next((n for n, f in enumerate(frames[at:], at) if not f.f_code.co_filename.startswith(_LIBRARY)), len(frames))
    ours, theirs = frames[at:end], frames[end:]
    public = [frame.f_code.co_name for frame in ours if _is_public(frame)]
    subject = _subject(reason, queue)
    behind = None if subject.message_owner is greenlet else subject.message_owner
    behind_stack = () if behind is None else _stack(_frames(_top_of(behind, waiter.hub)))
    return ParkedGreenlet(
        call=public[-1] if public else "",
        what=subject.what if behind is None else f"{subject.what}, {_behind(subject, behind, behind_stack)},",
        direction=subject.direction,
        socket=subject.socket,
        type=type_of(subject.socket),
        endpoint=endpoint_of(subject.socket),
        hub=waiter.hub,
        thread=waiter.hub.thread_name,
        since=waiter.since,
        deadline=None if waiter.timeout is None else waiter.since + waiter.timeout,
        stack=_stack(theirs),
        behind=behind,
        behind_stack=behind_stack,
        greenlet=greenlet,
    )


def _behind(subject: _WaitedFor, owner: greenlet, stack: tuple[traceback.FrameSummary, ...]) -> str:
    """What a greenlet waits for that must not come between the parts of another one's message."""
    verb = "receive" if subject.direction == "in" else "send"
    if owner.dead:
        return f"behind a message that {owner!r} had begun to {verb} when it ended"
    where = _place(stack)
    return f"behind a message that {owner!r} has begun to {verb}{where and f'; that one is at {where}'}"


def _top_of(greenlet: greenlet, hub: Hub) -> FrameType | None:
    """The innermost frame of a greenlet of this hub: of one that runs, too, in this thread or in another."""
    if greenlet is getcurrent():
        return sys._getframe(1)
    if greenlet.gr_frame is None and not greenlet.dead:
        return sys._current_frames().get(hub.thread_id)
    return greenlet.gr_frame


def _stack(frames: Iterable[FrameType]) -> tuple[traceback.FrameSummary, ...]:
    """The frames that are not the library's, nor, of one that waits in the library, the runtime's below that."""
    frames = list(frames)
    at = next((number for number, frame in enumerate(frames) if _is_parking(frame)), 0)
    return tuple(_summary(frame) for frame in frames[at:] if not frame.f_code.co_filename.startswith(_LIBRARY))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """This frame and those that wait for it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_parking(frame: FrameType) -> bool:
    return frame.f_code is Waiter.park.__code__


def _parked_in(frame: FrameType) -> Waiter | None:
    """The waiter of a frame of `Waiter.park`. Nothing else here, or anywhere in greenzmq, reads a local of a frame."""
    return frame.f_locals.get("self") if _is_parking(frame) else None


def _is_public(frame: FrameType) -> bool:
    """Whether a program may have made this call."""
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    return not (name.startswith(("_", "<")) or file.startswith(_HUBS))


def _summary(frame: FrameType) -> traceback.FrameSummary:
    code = frame.f_code
    return traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name, lookup_line=False)


# -- what they wait for ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _WaitedFor:
    """A reason, in words."""

    what: str
    direction: str = ""
    socket: Any = None
    message_owner: greenlet | None = None


def _subject(reason: Reason, queue: object) -> _WaitedFor:
    """What the `reason` of a waiter in `queue` tells."""
    try:
        if reason is None:
            return _WaitedFor("for what nobody has said")
        if type(reason) is tuple:
            return _KINDS[reason[0]](*reason[1:])
        if isinstance(reason, PollerState):
            return _poller(reason)
        if isinstance(reason, Socket) and isinstance(queue, Direction):
            return _operation(reason, queue)
        return _WaitedFor(_describe(reason))
    except Exception as error:  # in a __repr__, for example; and in another thread all of it may be changing
        return _WaitedFor(f"? ({error!r})")


def type_of(socket: Any) -> str:
    """The name of a socket's type: ``"PULL"``."""
    return "" if socket is None else str(getattr(socket, "_type_name", "?"))


def endpoint_of(socket: Any) -> str:
    """The address to which a socket was bound or connected last. Takes no signal from anybody."""
    if socket is None or socket.closed:
        return ""
    try:
        endpoint: Any = BackendSocket.get(socket, zmq.LAST_ENDPOINT)
    except zmq.ZMQError:  # its context has ended
        return ""
    return str(endpoint, errors="replace")


def _describe(what: Any) -> str:
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
    owner = None if direction.mid_message is None else direction.mid_message.owner()
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


#: For each kind of `greenzmq.waiting.reasons`, what makes words of it.
_KINDS: dict[str, Callable[..., _WaitedFor]] = {
    POLL: _socket_poll,
    DESCRIPTOR: _descriptor,
    THREAD: _in_thread,
    PROXY: _proxy,
    NEXT_TURN[0]: lambda: _WaitedFor("its next turn"),
    SLEEP[0]: lambda: _WaitedFor(""),
}
