"""A process that forks in a greenlet of asyncio's hub: the child knows that the loop is the parent's."""

from __future__ import annotations

import os

import pytest
from support.asyncio import loop_name
from support.children import Child, run
from support.forked import GREENZMQ

__all__ = ["loop_name"]


FORK = """
import asyncio, os
import zmq
import greenzmq
import greenzmq.asyncio

def main():
    hub = greenzmq.asyncio.hub()
    context = greenzmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind("inproc://fork")
    push.connect("inproc://fork")
    hub.spawn(push.send, b"x")
    pull.recv()  # the callback of the socket's watch switches into this greenlet
    child = os.fork()
    if not child:
        try:
            hub.sleep(0)
        except greenzmq.HubError as error:
            os._exit(42 if "belongs to the parent process" in str(error) else 1)
        finally:
            os._exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    context.destroy(linger=0)

if "LOOP" == "uvloop":
    import uvloop
    uvloop.install()
asyncio.run(greenzmq.asyncio.run(main))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_cannot_wait(loop_name: str) -> None:
    """Also right after its greenlet was resumed by the loop, which it then does not ask whether it runs.

    Seen to fail where `in_watch_callback` is still true in the child: that goes round in the parent's loop.
    """
    done = run(Child(FORK.replace("LOOP", loop_name), imported=GREENZMQ))
    assert (done.out, done.err) == ("42\n", "")
