"""Objects as messages without pickle: msgpack, and a check of what has come. Needs ``python -m pip install msgpack``.

``send_pyobj`` and ``recv_pyobj`` use pickle, and to unpickle a message runs whatever code its sender has put in it. So
the context refuses both. What msgpack reads is data: numbers, texts, bytes, lists and dicts, and no longer than the
message itself.

    python examples/typed_messages.py [hub]
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import msgpack

import greenzmq as zmq


@dataclass
class Order:
    """What is sent."""

    item: str
    count: int

    def __post_init__(self) -> None:
        if not isinstance(self.item, str) or not isinstance(self.count, int) or not 0 < self.count < 1000:
            raise ValueError("no such order")


def pack(order: Order) -> list[bytes]:
    """For `send_serialized`: the frames of the message."""
    return [msgpack.packb(asdict(order))]


def unpack(frames: list[bytes]) -> Order:
    """For `recv_serialized`. Everything that a stranger can send is an order, or one of these errors."""
    try:
        (frame,) = frames
        return Order(**msgpack.unpackb(frame))
    except Exception as error:  # msgpack has many of its own
        raise ValueError(f"no order: {error}") from error


def shop(server: zmq.Socket) -> None:
    """Take two orders; one is a stranger's."""
    for _ in range(2):
        try:
            print("sold:", server.recv_serialized(unpack))
        except ValueError as error:
            print("refused:", str(error).partition(":")[0])


def program() -> None:
    """The shop, a customer, and a stranger."""
    with zmq.Context(pyobj=False) as context, context.socket(zmq.PULL) as server, context.socket(zmq.PUSH) as client:
        port = server.bind_to_random_port("tcp://127.0.0.1")
        client.connect(f"tcp://127.0.0.1:{port}")
        task = zmq.hub().spawn(shop, server)
        client.send_serialized(Order("lamp", 3), pack)
        client.send_multipart([b"cos\nsystem\n(S'echo gotcha'\ntR.", b"?"])  # what recv_pyobj would run
        task.get()
        try:
            any_object: Any = {1, 2}
            client.send_pyobj(any_object)
        except zmq.PyobjRefusedError as error:
            print("refused:", str(error).partition(":")[0])


if __name__ == "__main__":
    zmq.main(program, hub=sys.argv[1] if len(sys.argv) > 1 else None)
