"""A pipeline with back-pressure: a source, workers in other processes, a sink; whoever is slow slows down the source.

Bounded queues and high-water marks hold back what nobody can take yet. A worker crashes with work in its hands: what
has no result after a while is sent again, and a second result of the same piece is dropped.
"""

from __future__ import annotations

from typing import Any

from children import end, main, start

import greenzmq as zmq

PIECES = 60
#: How many pieces may be on their way at a time.
WINDOW = 8
#: Seconds after which a piece is sent again, and that everything may take.
AGAIN = 1.0
PATIENCE = 60.0


def work(source: str, sink: str) -> None:
    """What a worker's process does: it squares, slowly."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pieces, context.socket(zmq.PUSH) as results:
        pieces.rcvhwm = results.sndhwm = 1
        pieces.connect(f"tcp://127.0.0.1:{source}")
        results.connect(f"tcp://127.0.0.1:{sink}")
        while True:
            number = int(pieces.recv())
            zmq.hub().sleep(0.01)
            results.send_multipart([b"%d" % number, b"%d" % number**2])


class Pipeline:
    """The two ends."""

    def __init__(self, context: zmq.Context) -> None:
        self.pieces, self.results = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        self.pieces.sndhwm = self.results.rcvhwm = 1
        self.pieces.linger = 0
        self.source_port = self.pieces.bind_to_random_port("tcp://127.0.0.1")
        self.sink_port = self.results.bind_to_random_port("tcp://127.0.0.1")
        self.window = zmq.Semaphore(WINDOW)
        self.missing: dict[int, None] = {}
        self.most_missing = 0
        self.found = zmq.Queue[tuple[int, int]](2)  # whoever takes the results may be slow

    def feed(self) -> None:
        """Send each piece, when there is room for one more on the way."""
        for number in range(PIECES):
            self.window.acquire()
            self.missing[number] = None
            self.most_missing = max(self.most_missing, len(self.missing))
            self.pieces.send(b"%d" % number)

    def collect(self) -> None:
        """Receive each result once; send again what is missing when none has come for a while."""
        seen: set[int] = set()
        while len(seen) < PIECES:
            if not zmq.wait([self.results], AGAIN):
                for number in list(self.missing):
                    if self.pieces.poll(0, zmq.POLLOUT):
                        self.pieces.send(b"%d" % number)
                continue
            number, square = map(int, self.results.recv_multipart())
            if number not in seen:
                seen.add(number)
                self.missing.pop(number, None)
                self.window.release()
                self.found.put((number, square))
        self.found.close()


def program(hub: str) -> None:
    """A pipeline with two workers, of which one crashes, and a new one that comes later."""
    workers: list[Any] = []
    with zmq.Context() as context:
        pipeline = Pipeline(context)
        try:
            workers += [start(hub, "worker", pipeline.source_port, pipeline.sink_port) for _ in range(2)]
            total = count = 0
            with zmq.hub().timeout(PATIENCE), zmq.hub().group() as group:
                group.spawn(pipeline.feed)
                group.spawn(pipeline.collect)
                for number, square in pipeline.found:
                    total += square
                    count += 1
                    if count == 20:
                        end(workers.pop(0))
                    elif count == 30:
                        workers.append(start(hub, "worker", pipeline.source_port, pipeline.sink_port))
                    if square != number**2:
                        print(f"{number} squared is not {square}")
            print(f"{count} results, together {total}")
            print(f"never more than {WINDOW} on their way: {pipeline.most_missing <= WINDOW}")
        finally:
            for worker in workers:
                end(worker)
            pipeline.pieces.close()
            pipeline.results.close()


if __name__ == "__main__":
    main(program, worker=work)
