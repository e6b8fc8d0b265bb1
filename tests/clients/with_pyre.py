"""zeromq-pyre: peers that find each other by beacons, and talk in a group and to each other."""

from __future__ import annotations

from functools import partial

from harness import RUN, Failure, free_port, processes, write

DISTRIBUTION = "zeromq-pyre"

#: Beacons stay on the loopback: pyre itself would send them to the network of the first interface.
NODE = """
import ipaddress, os, sys, uuid
from pyre import Pyre, zbeacon

def stay_on_the_loopback(beacon):
    network = ipaddress.ip_network("127.0.0.0/8")
    beacon.address = "127.0.0.1"
    beacon.interface_name = "lo"
    beacon.network_address, beacon.broadcast_address = network.network_address, network.broadcast_address

zbeacon.ZBeacon._prepare_socket = stay_on_the_loopback
me, others = sys.argv[1], [name for name in "abc" if name != sys.argv[1]]
node = Pyre(me)
node.set_port(sys.argv[2].encode())  # it takes no number, though it says so
node.set_header("greets", me.upper())
node.start()
node.join("room")

print("started", flush=True)

heard, answers, headers, shouted = [], [], {}, False
while not len(heard) == len(answers) == 40:
    if not shouted and os.path.exists("go"):
        shouted = True
        for number in range(20):
            node.shouts("room", "%s %d" % (me, number))
    if not node.socket().poll(50):
        continue
    kind, peer, name, *rest = node.recv()
    kind, name = kind.decode(), name.decode()
    if kind == "JOIN":
        headers[name] = node.peer_header_value(uuid.UUID(bytes=peer), "greets")
        if len(headers) == 2:
            print("ready", flush=True)
    elif kind == "SHOUT":
        group, text = rest[0].decode(), rest[1].decode()
        assert group == "room", rest
        heard.append(text)
        node.whispers(uuid.UUID(bytes=peer), "heard " + text)
    elif kind == "WHISPER":
        answers.append((name, rest[0].decode()))
for name in others:
    assert [text for text in heard if text[0] == name] == ["%s %d" % (name, number) for number in range(20)], heard
    assert [text for who, text in answers if who == name] == ["heard %s %d" % (me, number) for number in range(20)]
    assert headers[name] == name.upper(), headers
print("right", flush=True)
while not os.path.exists("end"):
    node.socket().poll(50)
node.stop()
"""


def room(*options: str) -> str:
    """Three peers: each hears what the others shout, in order, and answers each of it."""
    with processes() as start:
        write(start.folder, node=NODE)  # type: ignore[attr-defined]
        port = str(free_port())
        nodes = []
        for (
            name
        ) in "abc":  # one after the other: pyre loses the greeting of a peer that it finds when that one finds it
            nodes.append(start(f"node-{name}", *RUN, *options, "node.py", name, port))
            nodes[-1].until_printed("started")
        for step, next_step in (("ready", "go"), ("right", "end")):
            for node in nodes:
                node.until_printed(step)
            (start.folder / next_step).touch()  # type: ignore[attr-defined]
        for node in nodes:
            node.succeed()
            if "Traceback" in node.output:
                raise Failure(node.output)
        return "3 peers, found by beacons: 120 shouts heard, in order, and each answered"


CASES = {"gevent": partial(room, "--hub", "gevent", "--monkey"), "by the rules": partial(room)}
