"""greenzmq on trio.

In a trio program, `open_hub` starts a hub on the running loop, and `run` runs blocking-style code in a greenlet::

    async def main():
        async with greenzmq_trio.open_hub():
            with greenzmq.Context(hub="trio") as context, context.socket(zmq.PULL) as pull:
                pull.connect("tcp://127.0.0.1:5555")
                message = await greenzmq_trio.run(pull.recv)

    trio.run(main)

In a program without trio, ``hub="trio"`` is enough: the first wait starts a loop in a greenlet, and greenlets wait for
coroutine functions with `await_`.

The modules: `hub` is the hub itself, `poll` the descriptors and `timers` the timers of one, `bridge` leads from
coroutines to greenlets and back.
"""

from .bridge import await_, run
from .hub import TrioHub, open_hub

__all__ = ["TrioHub", "await_", "open_hub", "run"]
