"""Pollers of everything at once, under greenlets that are killed and out of time, while what is polled comes and goes.

A native thread sets and clears events; sockets and files are closed, and others get their numbers. Now and then, and in
the end, each Poller answers what is so; and nothing is left of all that. Seen to fail when `SocketState.listen` did
nothing, when the numbers of files were not looked at again, and when a poll left its waiter behind.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import zmq
from support.invariants import idle
from support.polling import IN, OUT, nobody_polls, pair
from support.sockets import open_context
from support.torture import scale

import greenzmq

STEPS, LONG_STEPS = 150, 20_000


class Churn:
    """What is polled, who polls it, and the steps that change either."""

    def __init__(self, hub: greenzmq.GreenHub, context: greenzmq.Context, chance: random.Random) -> None:
        self.hub = hub
        self.context = context
        self.chance = chance
        self.pollers = [greenzmq.Poller() for _ in range(3)]
        self.events = [greenzmq.GreenEvent() for _ in range(4)]
        self.pairs = [pair(context) for _ in range(4)]
        self.pipes = [self.pipe() for _ in range(3)]
        self.over = False
        self.tasks = [hub.spawn(self.poll) for _ in range(6)]

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for fd in ends:
            os.set_blocking(fd, False)
        return ends

    def poll(self) -> None:
        """What each greenlet does all the time."""
        chance = random.Random(self.chance.random())
        while not self.over:
            poller = chance.choice(self.pollers)
            with suppress(zmq.ZMQError), self.hub.timeout(chance.choice([0.0005, 0.002, 1]), False):
                poller.poll(chance.choice([0, 1, 3, None]))
            self.hub.sleep()

    def disturb(self) -> None:
        """What the native thread does."""
        chance = random.Random(self.chance.random())
        while not self.over:
            event = chance.choice(self.events)
            event.set_threadsafe() if chance.random() < 0.5 else event.clear()
            time.sleep(0.0002)

    # -- the steps ----------------------------------------------------------------------------------------------------

    def register(self) -> None:
        poller, chance = chance_poller(self), self.chance
        ends = chance.choice(self.pairs) + chance.choice(self.pipes)
        if chance.random() < 0.3:
            poller.register(chance.choice(self.events), IN)
        else:
            poller.register(chance.choice(ends), chance.choice([IN, IN, OUT, IN | OUT, int(zmq.POLLERR)]))

    def unregister(self) -> None:
        poller = chance_poller(self)
        if poller.sockets:
            poller.unregister(self.chance.choice(poller.sockets)[0])

    def send_or_receive(self) -> None:
        left, right = self.chance.choice(self.pairs)
        with suppress(zmq.Again):
            left.send(b"message", zmq.NOBLOCK) if self.chance.random() < 0.5 else right.recv(zmq.NOBLOCK)

    def write_or_read(self) -> None:
        reader, writer = self.chance.choice(self.pipes)
        with suppress(BlockingIOError):
            os.write(writer, b"data") if self.chance.random() < 0.5 else os.read(reader, 10)

    def kill(self) -> None:
        place = self.chance.randrange(len(self.tasks))
        self.tasks[place].kill(block=self.chance.random() < 0.5)
        self.tasks[place] = self.hub.spawn(self.poll)

    def replace_sockets(self) -> None:
        for socket in self.pairs.pop(self.chance.randrange(len(self.pairs))):
            socket.close(linger=0)
        self.pairs.append(pair(self.context))

    def replace_pipe(self) -> None:
        """Mostly unregistered before: if not, the Poller goes on with what gets the number."""
        place = self.chance.randrange(len(self.pipes))
        for fd in self.pipes[place]:
            for poller in self.pollers:
                if fd in poller and self.chance.random() < 0.7:
                    poller.unregister(fd)
            os.close(fd)
        self.pipes[place] = self.pipe()

    def drop_closed(self) -> None:
        for poller in self.pollers:
            for what, _ in poller.sockets:
                if getattr(what, "closed", False):
                    poller.unregister(what)

    def close(self) -> None:
        chance_poller(self).close()

    def stop_lazily(self) -> None:
        self.hub.sleep(0.0005)

    # -- the end ------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        self.over = True
        for task in self.tasks:
            task.kill()
            task.get()

    def check(self) -> None:
        """What is polled is answered as it is."""
        self.drop_closed()
        for poller in self.pollers:
            found = dict(poller.poll(0))
            for what, events in poller.sockets:
                if isinstance(what, greenzmq.Socket):
                    assert found.get(what, 0) == what.get(zmq.EVENTS) & events
                elif isinstance(what, greenzmq.GreenEvent):
                    assert (what in found) == what.is_set() or not self.over
                elif any(what in ends for ends in self.pipes):
                    assert found.get(what, 0) == dict(zmq.zmq_poll([(what, events)], 0)).get(what, 0)

    def close_all(self) -> None:
        nobody_polls(*self.pollers)
        for poller in self.pollers:
            poller.close()
        idle(*(socket for ends in self.pairs for socket in ends))
        assert [event._links for event in self.events] == [{}] * len(self.events)
        for fd in (fd for ends in self.pipes for fd in ends):
            os.close(fd)


def chance_poller(churn: Churn) -> Any:
    return churn.chance.choice(churn.pollers)


STEP: dict[Callable[[Churn], None], int] = {
    Churn.register: 8,
    Churn.unregister: 2,
    Churn.send_or_receive: 6,
    Churn.write_or_read: 4,
    Churn.kill: 3,
    Churn.replace_sockets: 1,
    Churn.replace_pipe: 1,
    Churn.check: 4,
    Churn.close: 1,
    Churn.stop_lazily: 4,
}


@pytest.mark.torture
def test_everything_comes_and_goes(hub):
    """However they are used, closed, killed and made anew: the Pollers answer what is so, and leave nothing behind."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    with open_context(hub) as context:
        churn = Churn(hub, context, chance)
        thread = threading.Thread(target=churn.disturb, daemon=True)
        thread.start()
        for step in chance.choices(list(STEP), list(STEP.values()), k=scale(LONG_STEPS, STEPS)):
            step(churn)
            hub.sleep()
        churn.end()
        thread.join(10)
        churn.check()
        churn.close_all()
