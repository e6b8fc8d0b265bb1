"""What a cancellation costs that comes in the same turn of the loop as the message: zmq.asyncio beside greenzmq.

    python tests/peers/asyncio_cancel.py [trials] [asyncio | uvloop]

The races are those of ``tests/asyncio/test_asyncio_cancel.py``, 1,000 of each by default. A negative number is of
messages that were sent although the call that sent them was cancelled.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.asyncio import run_on
from support.races import CANCELS, LATER, OPERATIONS, SOON, AwaitableSockets, Greenzmq, ZmqAsyncio, race


async def table(library: Any, trials: int) -> None:
    for cancel in CANCELS:
        for operation in OPERATIONS:
            for order in (SOON, LATER):
                counts = await race(library, cancel, operation, order, trials)
                cells = (library.name, cancel, operation, order, trials, counts["returned"], counts["lost"])
                print("{:12} {:16} {:15} {:15} {:>7} {:>9} {:>6}".format(*cells), flush=True)
    await library.end()


def main() -> None:
    warnings.simplefilter("ignore")
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    loop = sys.argv[2] if len(sys.argv) > 2 else "asyncio"
    print(
        "{:12} {:16} {:15} {:15} {:>7} {:>9} {:>6}".format(
            "", "cancelled by", "call", "order", "trials", "returned", "lost"
        )
    )
    for library in (ZmqAsyncio, Greenzmq, AwaitableSockets):

        async def tabulate(library: Any = library) -> None:
            await table(library(), trials)

        run_on(loop, tabulate())


if __name__ == "__main__":
    main()
