"""logbook: records go from a ZeroMQHandler to a ZeroMQSubscriber in another process."""

from __future__ import annotations

from functools import partial

from harness import RUN, Failure, free_port, processes, write

DISTRIBUTION = "Logbook"

RECEIVER = """
import sys
from logbook.queues import ZeroMQSubscriber
subscriber = ZeroMQSubscriber(sys.argv[1], multi=True)
print("ready", flush=True)
records = [subscriber.recv().message for _ in range(300)]
assert sorted(records) == sorted(f"{name} {number}" for name in "abc" for number in range(100))
for name in "abc":
    assert [text for text in records if text[0] == name] == [f"{name} {number}" for number in range(100)]
print("right", len(records))
"""
SENDER = """
import sys, logbook
from logbook.queues import ZeroMQHandler
handler = ZeroMQHandler(sys.argv[1], multi=True)
logger = logbook.Logger("test")
with handler.applicationbound():
    for number in range(100):
        logger.info(f"{sys.argv[2]} {number}")
handler.close()
"""


def records(*options: str) -> str:
    """Three senders, each record once and in order."""
    with processes() as start:
        write(start.folder, receiver=RECEIVER, sender=SENDER)  # type: ignore[attr-defined]
        endpoint = f"tcp://127.0.0.1:{free_port()}"
        receiver = start("receiver", *RUN, *options, "receiver.py", endpoint)
        receiver.until_printed("ready")
        senders = [start(f"sender-{name}", *RUN, *options, "sender.py", endpoint, name) for name in "abc"]
        output = receiver.succeed()
        for sender in senders:
            sender.succeed()
        if "right 300" not in output:
            raise Failure(output)
        return "3 senders, 300 records, each once and in order"


CASES = {
    "gevent": partial(records, "--hub", "gevent", "--monkey"),
    "eventlet": partial(records, "--hub", "eventlet", "--monkey"),
    "by the rules": partial(records),
}
