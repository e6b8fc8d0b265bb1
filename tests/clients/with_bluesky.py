"""bluesky's 0MQ proxy: documents from publishers through its forwarder to a subscriber."""

from __future__ import annotations

from functools import partial

from harness import RUN, Failure, free_port, processes, write

PROXY = """
import sys
from bluesky.callbacks.zmq import Proxy
proxy = Proxy(int(sys.argv[1]), int(sys.argv[2]))
print("ready", flush=True)
proxy.start()
"""
SUBSCRIBER = """
import asyncio, sys
from bluesky.callbacks.zmq import RemoteDispatcher
seen = []
def take(name, document):
    if document.get("warm"):
        print("warm", flush=True)
    else:
        seen.append((name, document["number"]))
    if len(seen) == 100:
        dispatcher.loop.call_soon(dispatcher.stop)
loop = asyncio.new_event_loop()
dispatcher = RemoteDispatcher(("127.0.0.1", int(sys.argv[1])), loop=loop)
dispatcher.subscribe(take)
try:
    dispatcher.start()
except BaseException as error:
    print(type(error).__name__)
assert seen == [("start", number) for number in range(100)], seen
print("right", len(seen), flush=True)
"""
PUBLISHER = """
import sys, time
from pathlib import Path
from bluesky.callbacks.zmq import Publisher
publish = Publisher(("127.0.0.1", int(sys.argv[1])))
while "warm" not in Path("subscriber.log").read_text():
    publish("start", {"warm": True, "uid": "x"})
    time.sleep(0.1)
for number in range(100):
    publish("start", {"number": number, "uid": "x"})
publish.close()
"""


def documents(*options: str) -> str:
    """One hundred documents, in order."""
    with processes() as start:
        write(start.folder, proxy=PROXY, subscriber=SUBSCRIBER, publisher=PUBLISHER)  # type: ignore[attr-defined]
        into, out = str(free_port()), str(free_port())
        start("proxy", *RUN, *options, "proxy.py", into, out).until_printed("ready")
        subscriber = start("subscriber", *RUN, *options, "subscriber.py", out)
        publisher = start("publisher", *RUN, *options, "publisher.py", into)
        output = subscriber.succeed()
        publisher.succeed()
        if "right 100" not in output:
            raise Failure(output)
        return "its proxy, a publisher, a subscriber: 100 documents in order"


CASES = {"by the rules": partial(documents), "by the rules, --aio": partial(documents, "--aio")}
