"""A chat with presence: who is there, who has left, and who has gone without a word.

Each guest is a process of its own, which gives a sign of life now and then. One that crashes is missed after a while,
and may come again.
"""

from __future__ import annotations

from time import monotonic

from children import end, main, start

import greenzmq as zmq

#: Seconds between two signs of life, after how many without one a guest is missed, and that everything may take.
BEAT = 0.2
MISSED = 3.0
PATIENCE = 60.0


class Room:
    """Tells everybody what each guest does."""

    def __init__(self, context: zmq.Context) -> None:
        self.guests, self.news = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
        self.guest_port = self.guests.bind_to_random_port("tcp://127.0.0.1")
        self.news_port = self.news.bind_to_random_port("tcp://127.0.0.1")
        self.present: dict[str, float] = {}  # the guests, and when each was heard last

    def run(self) -> None:
        """Serve until killed."""
        while True:
            if zmq.wait([self.guests], BEAT):
                _, name, kind, text = (part.decode(errors="replace") for part in self.guests.recv_multipart())
                self.hear(name, kind, text)
            for name, heard in list(self.present.items()):
                if monotonic() - heard > MISSED:
                    del self.present[name]
                    self.tell(f"{name} has gone without a word")

    def hear(self, name: str, kind: str, text: str) -> None:
        """What a guest says."""
        if name not in self.present:
            self.tell(f"{name} is here")
        self.present[name] = monotonic()
        if kind == "say":
            self.tell(f"{name}: {text}")
        elif kind == "leave":
            del self.present[name]
            self.tell(f"{name} has left; there {'is' if len(self.present) == 1 else 'are'} {len(self.present)}")

    def tell(self, line: str) -> None:
        """Tell everybody."""
        self.news.send_string(line)


def visit(port: str, name: str, *lines: str) -> None:
    """What a guest's process does: it says its lines, and stays; with "bye" as the last it leaves."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")

        def send(kind: str, text: str = "") -> None:
            socket.send_multipart([name.encode(), kind.encode(), text.encode()])

        for line in lines:
            send(*(("leave",) if line == "bye" else ("say", line)))
        while lines[-1:] != ("bye",):
            send("alive")
            zmq.hub().sleep(BEAT)


def program(hub: str) -> None:
    """A room, and guests who come, say something, leave, crash and come again; and what is heard there, in order."""
    children = {}
    with zmq.Context() as context, context.socket(zmq.SUB) as ear:
        room = Room(context)
        ear.connect(f"tcp://127.0.0.1:{room.news_port}")
        ear.subscribe("")
        serving = zmq.hub().spawn(room.run)

        def hear(*expected: str) -> None:
            """Print what is told, up to the last of these lines."""
            line = ""
            while line != expected[-1]:
                line = ear.recv_string()
                print(line)

        try:
            with zmq.hub().timeout(PATIENCE):
                while not ear.poll(50):  # until the subscription has come to the room
                    room.tell("the room is open")
                while ear.poll(50):
                    ear.recv()
                children["ann"] = start(hub, "guest", room.guest_port, "ann", "hello")
                hear("ann: hello")
                children["bob"] = start(hub, "guest", room.guest_port, "bob", "hi")
                hear("bob: hi")
                end(children["bob"])
                hear("bob has gone without a word")
                children["bob"] = start(hub, "guest", room.guest_port, "bob", "I am back", "bye")
                hear("bob has left; there is 1")
                children["cid"] = start(hub, "guest", room.guest_port, "cid", "hello", "ann?")
                hear("cid: ann?")
                print(f"present: {', '.join(sorted(room.present))}")
        finally:
            serving.kill()
            for child in children.values():
                end(child)
            room.guests.close(0)
            room.news.close(0)


if __name__ == "__main__":
    main(program, guest=visit)
