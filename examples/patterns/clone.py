"""Clone: many clients share one table of keys and values, and each has all of it.

A client asks for the whole table (DEALER and ROUTER), and hears of every change (PUB and SUB). It subscribes before it
asks, and then skips the changes that the table has already: each has a number. Changes of its own go to the server
(PUSH and PULL), which numbers them all.
"""

from __future__ import annotations

import sys

import greenzmq as zmq

CLIENTS, CHANGES = 3, 20
END = b""


def server(context: zmq.Context, table: dict[bytes, bytes]) -> None:
    snapshots, publisher, collector = (context.socket(kind) for kind in (zmq.ROUTER, zmq.PUB, zmq.PULL))
    snapshots.bind("inproc://snapshots")
    publisher.bind("inproc://updates")
    collector.bind("inproc://changes")
    poller = zmq.Poller()
    poller.register(snapshots, zmq.POLLIN)
    poller.register(collector, zmq.POLLIN)
    number = 0
    while True:
        for socket, _ in poller.poll():
            if socket is collector:
                key, value = collector.recv_multipart()
                number += 1
                table[key] = value
                publisher.send_multipart([b"%d" % number, key, value])
            else:
                who, _ = snapshots.recv_multipart()
                for key, value in table.items():
                    snapshots.send_multipart([who, b"%d" % number, key, value])
                snapshots.send_multipart([who, b"%d" % number, END, END])


def client(context: zmq.Context, name: str, total: int) -> dict[bytes, bytes]:
    """Make some changes, and return the table when it has all changes of all clients."""
    asking, updates, changes = (context.socket(kind) for kind in (zmq.DEALER, zmq.SUB, zmq.PUSH))
    updates.subscribe(b"")
    updates.connect("inproc://updates")
    asking.connect("inproc://snapshots")
    changes.connect("inproc://changes")
    asking.send(b"all of it")
    table: dict[bytes, bytes] = {}
    while True:
        number, key, value = asking.recv_multipart()
        if key == END:
            break
        table[key] = value
    seen = int(number)
    for change in range(CHANGES):
        changes.send_multipart([f"{name} {change % 7}".encode(), b"%d" % change])
    while seen < total:
        number, key, value = updates.recv_multipart()
        if int(number) > seen:
            seen = int(number)
            table[key] = value
    return table


def program() -> str:
    """Clients that come one after another end with the same table as the server."""
    hub, context = zmq.hub(), zmq.Context()
    table: dict[bytes, bytes] = {}
    hub.spawn(server, context, table)
    clients = []
    for name in "abc"[:CLIENTS]:
        clients.append(hub.spawn(client, context, name, CLIENTS * CHANGES))
        hub.sleep(0.05)
    same = [task.get() == table for task in clients]
    return f"{len(table)} keys after {CLIENTS * CHANGES} changes, the same for all clients: {all(same)}"


if __name__ == "__main__":
    print(zmq.main(program, hub=sys.argv[1] if sys.argv[1:] else None))
