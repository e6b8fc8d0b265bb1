"""Greenlets that keep a connection busy while the other side comes and goes."""

from __future__ import annotations

from typing import Any

import zmq
from support.sockets import until

import greenzmq
from greenzmq import GreenHub

__all__ = ["Load", "connect"]


def connect(context: greenzmq.Context, endpoint: str, **options: int) -> Any:
    """Make a DEALER that reconnects at once, and has room for few messages."""
    dealer = context.socket(zmq.DEALER)
    for name, value in {"reconnect_ivl": 1, "sndhwm": 5, "sndbuf": 65536, **options}.items():
        setattr(dealer, name, value)
    dealer.connect(endpoint)
    return dealer


class Load:
    """Greenlets that send numbers to an echo, and one that receives them, as fast as they can, until `end`."""

    def __init__(self, hub: GreenHub, dealer: Any) -> None:
        self.hub, self.dealer = hub, dealer
        self.sent = self.last = 0
        self.ending = False
        self.tasks = [hub.spawn(self._send), hub.spawn(self._send), hub.spawn(self._receive)]

    def _send(self) -> None:
        while not self.ending:
            self.sent += 1
            self.dealer.send(b"%d" % self.sent)

    def _receive(self) -> None:
        while not self.ending:
            self.last = max(self.last, int(self.dealer.recv()))

    def wait_for_more(self) -> None:
        """Wait until a number has come back that is sent only after this call has begun."""
        goal = self.sent + 20
        until(self.hub, lambda: self.last > goal)

    def end(self) -> None:
        self.ending = True
        for task in self.tasks:
            if not task.join(0.01):  # no message may come any more; a kill loses none
                task.kill()
