"""pyzmq's own classes and functions, whatever `greenzmq.patch` has put in their place since.

`greenzmq.patch` replaces names in `zmq` itself. Code of ours that looked up ``zmq.Socket`` when it is called would then
find our own class: a test for "any socket" would mean "a green one", and a call of the parent's method would be a call
of itself. So greenzmq takes pyzmq's objects from here, where they are looked up once, when greenzmq is imported.
``tests/project/test_plain.py`` holds that. Constants and errors are never replaced.
"""

from __future__ import annotations

from zmq import Context as PlainContext
from zmq import Frame as PlainFrame
from zmq import MessageTracker as PlainMessageTracker
from zmq import Poller as PlainPoller
from zmq import Socket as PlainSocket
from zmq.backend import proxy_steerable as plain_proxy_steerable

__all__ = ["PlainContext", "PlainFrame", "PlainMessageTracker", "PlainPoller", "PlainSocket", "plain_proxy_steerable"]
