"""A hub for tests: it runs step by step, the test moves its clock, and a seed chooses the order of ready callbacks.

::

    with SteppingHub(seed=7) as stepping:
        hub, context = greenzmq.hub(stepping), greenzmq.Context(hub=stepping, turn=0)
        task = hub.spawn(program, hub, context)
        stepping.settle()          # every greenlet has gone on as far as it can
        stepping.advance(1.5)      # all that is due within 1.5 s has happened, without waiting for real time
        assert task.done

The schedule of such a test depends on the seed alone, as long as no other thread takes part. Therefore use ``inproc``:
for ``tcp`` and ``ipc`` libzmq has threads of its own. And make the context with ``turn=0``: otherwise the length of a
turn is measured by the real clock. Loop over seeds to see other schedules.

Without `step`, `settle` and `advance` this is an ordinary hub: it runs when the main greenlet parks. Whenever no
callback is ready then, the clock jumps to the next timer.
"""

from __future__ import annotations

import math
import os
import random
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet

from ..diagnostics import report
from ..errors import HubError
from ..hubs._timers import TimerHeap
from ..hubs._wakeup import Wakeup
from ..hubs.base import Hub, Timer, Watch, main_greenlet
from ..process import unpatched
from ..waiting.limits import as_seconds
from ..waiting.waiter import refuse_in_hub

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["StalledError", "SteppingHub"]

_READ, _WRITE = 1, 2  # selectors.EVENT_READ, selectors.EVENT_WRITE
#: Microseconds by which the clock moves for each callback, so that time passes for a greenlet that only yields, too.
_STEP = 1
#: Microseconds. The times at which timers are due are rounded up to a multiple of this, so that timers set for the same
#: time are due together. Their real times differ a little, because a timeout counts from the beginning of its call. A
#: difference of up to half of this is absorbed.
_GRAIN = 1000
#: Microseconds: about 30 years. A timer that would be due later is never due.
_NEVER = 10**15
#: `settle` gives up after so many steps.
_MANY = 100_000

_here = unpatched.local()


class StalledError(HubError):
    """No greenlet can go on any more, or the greenlets go on for ever."""


class SteppingHub(Hub):
    """See `Hub`, and the head of this module. A thread has one at a time, until its `close`.

    Parameters
    ----------
    seed : int, optional
        The seed of the random choice of the next callback among those that are ready. None runs them in order, as the
        contract of hubs says.
    patience : float
        Real seconds to wait for file descriptors and other threads before the clock moves. For programs that use
        ``tcp`` or native threads.
    give_up : float
        Real seconds. After so long without anything to do, not even a timer, the main greenlet gets a `StalledError`.

    Attributes
    ----------
    patience, give_up : float
        As above; may be changed.
    """

    name = "stepping"
    goes_by_itself = False
    greenlet: Any = None

    def __init__(self, seed: int | None = None, *, patience: float = 0, give_up: float = 5) -> None:
        if SteppingHub.current() is not None:
            raise HubError(f"this thread has {SteppingHub.current()!r} already; close() it before you make another")
        super().__init__()
        self._random = None if seed is None else random.Random(seed)
        self._seed = seed
        self.patience = patience
        self.give_up = give_up
        self._now: float = 0  # a whole number of microseconds
        self._ready: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._round = 0  # how many of these were ready at the last poll of the descriptors, and have not run yet
        self._timers = TimerHeap()
        self._selector: Any = unpatched.DefaultSelector()
        self._from_threads: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._wakeup = Wakeup(self._take_from_threads)
        self._selector.register(self._wakeup.fd, _READ)
        self._closed = False
        self._asleep = False
        self._driver: greenlet | None = None  # the greenlet that called step()
        self._act: Callable[[], bool] = self._step
        self.greenlet = greenlet(self._run, main_greenlet())
        _here.hub = self

    @classmethod
    def current(cls) -> SteppingHub | None:
        return getattr(_here, "hub", None)

    @classmethod
    def get(cls) -> SteppingHub:
        return cls.current() or cls()

    @property
    def variant(self) -> str:
        order = "in order" if self._random is None else f"seed {self._seed}"
        return f"{order}, at {self.time:.6f} s"

    def has_ended(self) -> bool:
        return self._closed

    def watch(self, fd: int, callback: Callable[[], object], *, write: bool = False) -> Watch:
        return _SteppingWatch(self, fd, callback, write)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._ready.append((callback, args))
        if self._asleep:  # this is a signal handler, after which `select` sleeps on (PEP 475)
            self._wakeup.notify()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        if not self._closed:
            self._from_threads.append((callback, args))
            self._wakeup.notify()

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> Timer:
        when = self._in(seconds) if seconds > 0 else self._now
        timer = self._timers.add(when, callback, args)
        if self._asleep:
            self._wakeup.notify()
        return timer

    def switch(self) -> object:
        return self.greenlet.switch()

    # -- for tests ----------------------------------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """Seconds since the hub was made, by its own clock."""
        return self._now / 1e6

    def step(self) -> bool:
        """Run one of the callbacks that are ready. The clock moves by no more than a microsecond.

        Returns
        -------
        bool
            Whether a callback was ready. A ready descriptor makes a ready callback, and so does a timer that is due.

        Raises
        ------
        BlockingCallError
            This is the hub's own greenlet.
        HubError
            This greenlet itself runs as part of a step.

        Notes
        -----
        Switches: always. May be called in any other greenlet of the thread.
        """
        return self._drive(self._step)

    def settle(self) -> int:
        """`step` until no callback is ready, and none has become ready for `patience` seconds. Returns how many steps.

        Raises
        ------
        StalledError
            There are always ready callbacks, as when a greenlet yields again and again.
        """
        steps = 0
        while self.step() or (self.patience > 0 and self._drive(self._wait)):
            steps += 1
            if steps > _MANY:
                raise StalledError(f"{self!r} does not settle within {_MANY} steps\n{report()}")
        return steps

    def advance(self, seconds: float) -> None:
        """Let `seconds` go by on the hub's clock.

        This calls `settle`, then moves the clock to each timer that is due by then, one after the other, and calls
        `settle` again each time. Every wait that was to last no longer than `seconds` is over afterwards.

        Raises
        ------
        StalledError
            As `settle`.
        """
        end = self._in(as_seconds(seconds, "SteppingHub.advance()"))
        self.settle()
        while (due := self._next_due()) is not None and due <= end:
            self._now = max(self._now, due)
            self.settle()
        self._now = max(self._now, end)

    def close(self) -> None:
        """End the loop and free its descriptors."""
        if self._closed:
            return
        self._closed = True
        if self.greenlet:
            self.greenlet.throw(GreenletExit)
        self._wakeup.close()
        self._selector.close()
        if _here.hub is self:
            del _here.hub

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _in(self, seconds: float) -> int:
        later = min(seconds * 1e6, _NEVER)
        return math.ceil((self._now + later + _GRAIN / 2) / _GRAIN) * _GRAIN

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _drive(self, act: Callable[[], bool]) -> bool:
        """Call ``act()`` once in the hub's greenlet, switch back here, and return what it returned."""
        refuse_in_hub(self)
        if self._driver is not None:
            raise HubError(f"{self!r} is in the middle of a step; call this outside of its greenlets and callbacks")
        self._driver, self._act = getcurrent(), act
        try:
            return bool(self.greenlet.switch())
        finally:
            self._driver = None

    def _run(self) -> None:
        while not self._closed:
            try:
                if self._driver is None:
                    self._go_on()
                else:
                    self._driver.switch(self._act())
            except GreenletExit:
                return
            except Exception:
                _report()
            except BaseException as error:  # KeyboardInterrupt, SystemExit: the main greenlet's, by rule 4 of base.py
                main_greenlet().throw(error)

    def _step(self) -> bool:
        if self._round <= 0:
            self._look(0)
        if not self._ready:
            return False
        self._round -= 1
        index = 0 if self._random is None else self._random.randrange(len(self._ready))
        callback, args = self._ready.pop(index)
        self._now += _STEP
        try:
            callback(*args)
        except Exception:
            _report()
        return True

    def _go_on(self) -> None:
        """Run one callback. If none is ready, wait in real time for one, or move the clock to the next timer."""
        if self._step():
            return
        due = self._next_due()
        if self._look(self.give_up if due is None else self.patience):
            return
        if due is None:
            main_greenlet().throw(StalledError(f"{self!r}: no greenlet can go on, and no timer is pending\n{report()}"))
        else:
            self._now = max(self._now, due)

    def _wait(self) -> bool:
        return self._look(self.patience)

    def _look(self, seconds: float) -> bool:
        """Collect the callbacks of due timers, and of descriptors that become ready within `seconds` of real time.

        Returns whether any callback is ready.
        """
        self._ready.extend((timer.run, ()) for timer in self._timers.pop_due(self._now))
        self._asleep = True
        try:
            events = self._selector.select(0 if self._ready else seconds)
        finally:
            self._asleep = False
        for key, mask in events:
            if key.fd == self._wakeup.fd:
                self._wakeup.drain()
                continue
            for watches, bit in ((self.readers, _READ), (self.writers, _WRITE)):
                watch = watches.get(key.fd) if mask & bit else None
                if watch is not None:
                    self._ready.append((watch._fire, ()))
        self._round = len(self._ready)
        return bool(self._ready)

    def _next_due(self) -> float | None:
        due = self._timers.first_due()
        return None if due is None or due >= _NEVER else due

    def _take_from_threads(self) -> None:
        while self._from_threads:
            self._ready.append(self._from_threads.pop(0))

    def _register(self, fd: int) -> None:
        """Tell the selector for which events `fd` is watched now."""
        wanted = (_READ if fd in self.readers else 0) | (_WRITE if fd in self.writers else 0)
        try:
            self._selector.unregister(fd)
        except (KeyError, OSError, ValueError):  # not yet registered, or closed meanwhile
            pass
        if wanted:
            self._selector.register(fd, wanted)


class _SteppingWatch(Watch):
    __slots__ = ()
    hub: SteppingHub

    def _arm(self) -> None:
        os.fstat(self.fd)
        self.hub._register(self.fd)

    def _disarm(self) -> None:
        if not self.hub._closed:
            self.hub._register(self.fd)


def _report() -> None:
    sys.excepthook(*sys.exc_info())
