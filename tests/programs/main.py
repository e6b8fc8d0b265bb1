"""The programs of test_program.py: `greenzmq.main` by one word, in a process of its own."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable

import zmq
from programs.interrupt import ASLEEP

import greenzmq


def report(word: str) -> None:
    """What comes out of main: a result, an error, and whatever it made is over."""
    made: list[greenzmq.Context] = []
    tasks: list[greenzmq.Task[object]] = []
    ended: list[str] = []

    def program(number: int, *, factor: int) -> int:
        made.append(greenzmq.Context())
        pull = made[0].socket(zmq.PULL)
        pull.bind("inproc://never")

        def wait() -> None:
            try:
                pull.recv()
            finally:
                ended.append("inner")

        def wait_beside() -> None:
            tasks.append(greenzmq.hub().spawn(wait))
            try:
                greenzmq.GreenEvent().wait()
            finally:
                ended.append("outer")

        tasks.append(greenzmq.hub().spawn(wait_beside))
        while len(greenzmq.waiters()) < 2:
            greenzmq.hub().sleep()
        return number * factor

    print(greenzmq.main(program, 6, hub=word, factor=7), sorted(ended), made[0].closed, [t.done for t in tasks])

    def fail() -> None:
        made.append(greenzmq.Context())
        push = made[1].socket(zmq.PUSH)
        push.connect("tcp://127.0.0.1:9")  # nobody listens: with its linger it would never end
        push.send(b"lost")
        raise KeyError("told")

    try:
        greenzmq.main(fail, hub=word)
    except KeyError as error:
        print(error, made[1].closed)


def deliver(word: str) -> None:
    """What was sent before the function returned arrives, though the peer comes late, and nobody keeps the context."""
    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    folder = tempfile.TemporaryDirectory()  # a port that is free now may be another process's a moment later
    address = f"ipc://{folder.name}/late"
    returning = threading.Event()
    came: list[str] = []

    def come_late() -> None:
        returning.wait()
        time.sleep(ASLEEP)
        came.append("late")
        pull.bind(address)

    peer = threading.Thread(target=come_late)
    peer.start()

    def program() -> None:
        push = greenzmq.Context().socket(zmq.PUSH)
        push.connect(address)
        push.send(b"the last words")
        returning.set()

    greenzmq.main(program, hub=word)
    print(*came)
    peer.join()
    print(pull.recv().decode())
    context.destroy()
    folder.cleanup()


def end_by_signal(word: str, number: int, where: str) -> None:
    """A signal while the function waits, while it computes, or while another task does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are told to ignore it

    def program() -> None:
        try:
            WHERE[where]()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            raise

    handler = signal.getsignal(signal.SIGTERM)
    try:
        greenzmq.main(program, hub=word, signals=() if number == signal.SIGINT else [number])
    except BaseException as error:
        print("main", type(error).__name__)
    print(signal.getsignal(signal.SIGTERM) is handler, signal.getsignal(signal.SIGINT) is signal.default_int_handler)


def send_signal(number: int) -> None:
    """To this process, once the caller has gone on."""

    def send() -> None:
        time.sleep(ASLEEP)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()


def waits(number: int) -> Callable[[], None]:
    def wait() -> None:
        with greenzmq.Context() as context, context.socket(zmq.PULL) as pull:
            pull.bind("inproc://never")
            greenzmq.hub().hub.call_soon(send_signal, number)
            pull.recv()

    return wait


def computes(number: int) -> Callable[[], None]:
    def compute() -> None:
        send_signal(number)
        while True:
            pass

    return compute


def computes_beside(number: int) -> Callable[[], None]:
    def run() -> None:
        def compute() -> None:
            send_signal(number)
            end = time.monotonic() + 20 * ASLEEP
            while time.monotonic() < end:
                pass

        greenzmq.hub().spawn(compute).join()
        greenzmq.GreenEvent().wait()

    return run


WHERE = {
    f"{way.__name__} {name}": way(number)
    for way in (waits, computes, computes_beside)
    for name, number in (("SIGINT", signal.SIGINT), ("SIGTERM", signal.SIGTERM))
}
