"""Checks of `watch`. A watch *fires* when it calls its callback."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING

from ...errors import WatchError
from .support import LOOK, Calls, ContractError, Owner, checks, fail, held, pair, park, require, until, watching

if TYPE_CHECKING:
    from ...hubs.base import Hub, Watch

__all__ = ["CHECKS"]


def check_watch_read(hub: Hub) -> None:
    """A reading watch is level-triggered: it fires while there is something to read, and only then."""
    fired = Calls()
    with pair() as (ours, theirs), watching(hub, ours.fileno(), fired) as watch:
        watch.start()
        park(hub, LOOK)
        require(not fired, "a watch does not fire while there is nothing to read")
        theirs.send(b"x")
        until(hub, lambda: len(fired) >= 3, "a watch fires again as long as nobody reads (level-triggered)")
        ours.recv(1)
        park(hub, LOOK)  # an event that the loop had collected before `recv` may still come
        fired.clear()
        park(hub, LOOK)
        require(not fired, "a watch does not fire when everything has been read")


def check_watch_write(hub: Hub) -> None:
    """A writing watch fires while there is room. A reading and a writing watch of one descriptor are independent."""
    read, write = Calls(), Calls()
    with pair() as (ours, theirs):
        reading = hub.watch(ours.fileno(), read)
        writing = hub.watch(ours.fileno(), write, write=True)
        reading.start()
        writing.start()
        until(hub, lambda: len(write) >= 2, "a writing watch fires while there is room")
        require(not read, "a reading watch does not fire because there is room to write")
        theirs.send(b"x")
        until(hub, lambda: len(read) >= 2, "reading and writing watches of one descriptor both work")
        writing.close()
        read.clear()
        write.clear()
        until(hub, lambda: len(read) >= 2, "one direction goes on when the other is closed")
        require(not write, "a closed watch does not fire")
        reading.close()


def check_watch_lifecycle(hub: Hub) -> None:
    """`start`, `stop` and `close` are idempotent. A stopped watch does not fire, and can be started again."""
    fired = Calls()
    with pair() as (ours, theirs), watching(hub, ours.fileno(), fired) as watch:
        theirs.send(b"x")
        park(hub, LOOK)
        require(not fired, "a watch that was not started does not fire")
        for _ in range(3):
            watch.start()
            watch.start()
            require(hub.readers == {ours.fileno(): watch}, "hub.readers contains the started watches")
            until(hub, fired.__len__, "a watch that is started (again) fires")
            watch.stop()
            watch.stop()
            fired.clear()
            park(hub, LOOK)
            require(not fired, "a stopped watch does not fire")


def check_watch_rest(hub: Hub) -> None:
    """A lazily stopped watch does not fire. An event, or a new watch on its descriptor, stops it; `start` starts it."""
    fired, second_fired = Calls(), Calls()
    with held(hub), pair() as (ours, theirs), watching(hub, ours.fileno(), fired) as watch:
        watch.start()
        watch.stop_lazily()
        watch.start()
        theirs.send(b"x")
        until(hub, fired.__len__, "a watch that was stopped lazily and is started again fires")
        watch.stop_lazily()
        stays = watch.lazily_stopped == watch.started == hub.supports_lazy_stop
        require(stays, "a watch that has fired, and is then stopped lazily, stays with the loop")
        fired.clear()
        park(hub, LOOK)
        require(not fired, "a lazily stopped watch does not fire")
        require(not (watch.started or watch.lazily_stopped or hub.readers), "an event stops a lazily stopped watch")
        watch.start()
        until(hub, fired.__len__, "a lazily stopped watch that an event has stopped can be started again")
        watch.stop_lazily()
        with watching(hub, ours.fileno(), second_fired) as second:
            second.start()
            require(not watch.started, "a new watch on the descriptor stops a lazily stopped one")
            until(hub, second_fired.__len__, "a new watch fires after a lazily stopped one on the same descriptor")
            second.stop_lazily()
            with watching(hub, ours.fileno(), Calls(), write=True) as other:
                other.start()
                require(not second.started, "a new watch for the other direction stops a lazily stopped one, too")


def check_watch_close(hub: Hub) -> None:
    """A closed watch never fires again, and cannot be started."""
    fired = Calls()
    with pair() as (ours, theirs), watching(hub, ours.fileno(), fired) as watch:
        theirs.send(b"x")
        watch.start()
        watch.close()
        watch.close()
        watch.stop()
        park(hub, LOOK)
        require(not fired, "a closed watch does not fire")
        require(watch.closed, "`closed` is true on a closed watch")
        _refused(watch, WatchError, "start() refuses a closed watch")


def _refused(watch: Watch, errors: type[Exception] | tuple[type[Exception], ...], rule: str) -> None:
    """Require that `start` raises one of `errors`, and close the watch."""
    try:
        watch.start()
    except errors:
        require(not watch.started, f"{rule}, and `started` stays False")
        return
    finally:
        watch.close()
    raise ContractError(rule)


def check_watch_is_alone(hub: Hub) -> None:
    """`start` refuses a second watch for the same descriptor and direction, and the first one goes on."""
    fired, second_fired = Calls(), Calls()
    with pair() as (ours, theirs), watching(hub, ours.fileno(), fired) as watch:
        watch.start()
        _refused(hub.watch(ours.fileno(), fail), WatchError, "start() refuses a second watch on a descriptor")
        theirs.send(b"x")
        until(hub, fired.__len__, "the first watch goes on when a second one was refused")
        watch.stop()
        with watching(hub, ours.fileno(), second_fired) as second:
            second.start()
            until(hub, second_fired.__len__, "a second watch can be started when the first one is stopped")


def check_watch_bad_descriptor(hub: Hub) -> None:
    """`start` refuses a bad descriptor, and leaves nothing behind: a new file under its number can be watched."""
    for write in (False, True):
        with pair() as (ours, _):
            fd = ours.fileno()
        for bad in (fd, -1):
            watch = hub.watch(bad, fail, write=write)
            _refused(watch, (OSError, ValueError), f"start() refuses descriptor {bad}, which is not open")
        park(hub, LOOK)
        fired = Calls()
        with pair() as (ours, theirs):
            theirs.send(b"x")
            if ours.fileno() != fd:
                os.dup2(ours.fileno(), fd)
            with watching(hub, fd, fired, write=write) as watch:
                watch.start()
                until(hub, fired.__len__, "a new file under a number that was bad can be watched")
            if ours.fileno() != fd:
                os.close(fd)


def check_watch_flags(hub: Hub) -> None:
    """A watch never changes whether its file blocks: other processes may have the same file open."""
    if sys.platform == "win32":
        return  # it cannot be read there whether a socket blocks
    for blocking in (True, False):
        for write in (False, True):
            fired = Calls()
            with pair() as (ours, theirs), watching(hub, ours.fileno(), fired, write=write) as watch:
                ours.setblocking(blocking)
                watch.start()
                park(hub, LOOK)
                require(os.get_blocking(ours.fileno()) == blocking, "a started watch leaves O_NONBLOCK as it was")
                theirs.send(b"x")
                until(hub, fired.__len__, "a watch fires, whether its descriptor blocks or not")
                watch.close()
                park(hub, LOOK)
                require(os.get_blocking(ours.fileno()) == blocking, "a closed watch leaves O_NONBLOCK as it was")


def check_watch_reused_descriptor(hub: Hub) -> None:
    """After a watch was closed, or was stopped and dropped, a new file under its number can be watched."""
    with pair() as (ours, _):
        fd = ours.fileno()
    for method in ("close", "stop") * 3:
        fired = Calls()
        with pair() as (ours, theirs):
            if ours.fileno() != fd:
                os.dup2(ours.fileno(), fd)
            watch = hub.watch(fd, fired)
            watch.start()
            theirs.send(b"x")
            until(hub, fired.__len__, "a new file under an old number can be watched")
            getattr(watch, method)()
            del watch
            if ours.fileno() != fd:
                os.close(fd)


def check_watch_stop_in_the_same_round(hub: Hub) -> None:
    """If a callback stops another watch, that one does not fire, even if the loop has already collected its event."""
    fired: list[int] = []
    watches: list[Watch] = []

    def stop_other(number: int) -> None:
        fired.append(number)
        watches[1 - number].stop()

    with pair() as one, pair() as two:
        for number, (ours, theirs) in enumerate((one, two)):
            watches.append(hub.watch(ours.fileno(), partial(stop_other, number)))
            theirs.send(b"x")
        for watch in watches:
            watch.start()
        until(hub, fired.__len__, "a watch fires")
        park(hub, LOOK)
        for watch in watches:
            watch.close()
    require(len(set(fired)) == 1, "a watch does not fire after stop(), even if its event was already collected")


def check_watch_survives_exceptions(hub: Hub) -> None:
    """A watch goes on when its callback raises, and so do the watches beside it."""
    fired = [0, 0, 0]

    def called(number: int) -> None:
        fired[number] += 1
        if number != 1:
            fail()

    with pair() as (ours, theirs), pair() as (other, to_other):
        theirs.send(b"x")
        to_other.send(b"x")
        watches = [
            hub.watch(ours.fileno(), partial(called, 0)),
            hub.watch(other.fileno(), partial(called, 1)),
            hub.watch(ours.fileno(), partial(called, 2), write=True),
        ]
        for watch in watches:
            watch.start()
        until(hub, lambda: min(fired) >= 3, "watches go on when a callback raises an Exception")
        for watch in watches:
            watch.close()


def check_watch_ends_itself(hub: Hub) -> None:
    """A callback may stop or close its own watch."""
    with pair() as (ours, theirs):
        theirs.send(b"x")
        for method in ("stop", "close"):
            fired = Calls()
            watches: list[Watch] = []

            def called(method: str = method, fired: Calls = fired, watches: list[Watch] = watches) -> None:
                fired()
                getattr(watches[0], method)()

            watches.append(hub.watch(ours.fileno(), called))
            watches[0].start()
            until(hub, fired.__len__, "a watch fires")
            park(hub, LOOK)
            watches[0].close()
            require(len(fired) == 1, f"a watch does not fire after {method}() in its own callback")


def check_watch_ownership(hub: Hub) -> None:
    """The hub keeps a started watch alive, but not a stopped one, whether it is closed or not."""
    calls = Calls()
    with pair() as (ours, theirs):
        owner = Owner(calls)
        watch = hub.watch(ours.fileno(), owner.called)
        owner.held = watch
        watch.start()
        alive = weakref.ref(owner)
        del owner, watch
        gc.collect()
        theirs.send(b"x")
        until(hub, calls.__len__, "a started watch fires even if only the hub refers to it")
        hub.readers[ours.fileno()].stop()
        park(hub, 0.001)
        gc.collect()
        require(alive() is None, "a stopped watch does not keep its owner alive")


CHECKS = checks(
    check_watch_read,
    check_watch_write,
    check_watch_lifecycle,
    check_watch_rest,
    check_watch_close,
    check_watch_is_alone,
    check_watch_bad_descriptor,
    check_watch_flags,
    check_watch_reused_descriptor,
    check_watch_stop_in_the_same_round,
    check_watch_survives_exceptions,
    check_watch_ends_itself,
    check_watch_ownership,
)
