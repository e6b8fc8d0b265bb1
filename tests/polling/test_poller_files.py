"""File descriptors in the Poller: pyzmq's answers for every kind of file, and numbers that come to mean other files."""

from __future__ import annotations

import gc
import os
import selectors
import socket as sockets
import time
from contextlib import suppress

import pytest
import zmq
from support.inside import other_epoll
from support.polling import IN, LONG, OUT, Fds, count_rounds, goes_on, is_open, pair, polling, pyzmq_poll
from support.sockets import descriptor, open_context, tick, until
from support.waiters import plain

import greenzmq
from greenzmq.process import unpatched

ERR, PRI = int(zmq.POLLERR), int(zmq.POLLPRI)
MASKS = (IN, OUT, IN | OUT, PRI, ERR, IN | PRI, IN | OUT | PRI | ERR)


def answers(what, masks=MASKS):
    """Our Poller's answers for each mask; each of them is also pyzmq's, and select's and zmq_poll's."""
    found = []
    for mask in masks:
        poller = greenzmq.Poller()
        poller.register(what, mask)
        found.append(poller.poll(0))
        assert found[-1] == poller.poll(0) == pyzmq_poll((what, mask))
        assert found[-1] == greenzmq.zmq_poll([(what, mask)], 0) == zmq.zmq_poll([(what, mask)], 0)
    return found


# --- kinds of files ---------------------------------------------------------------------------------------------------


def test_pipes(hub):
    """A pipe: empty, with data, full, without a writer, without a reader."""
    with Fds() as files:
        reader, writer = files.pipe()
        assert answers(reader, (IN, IN | OUT)) == [[], []]
        assert answers(writer, (IN, OUT)) == [[], [(writer, OUT)]]
        os.write(writer, b"data")
        assert answers(reader, (IN, OUT)) == [[(reader, IN)], []]
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while os.write(writer, bytes(4096)):
                pass
        assert answers(writer, (OUT,)) == [[]]
        os.close(writer)
        assert answers(reader, (IN, OUT)) == [[(reader, IN | ERR)], [(reader, ERR)]]
        while os.read(reader, 65536):
            pass
        assert answers(reader, (IN, OUT, PRI, ERR)) == [[(reader, ERR)]] * 4
        reader, writer = files.pipe()
        os.close(reader)
        assert answers(writer, (IN, OUT)) == [[(writer, ERR)], [(writer, OUT | ERR)]]
        answers(writer)


def test_connections(hub):
    """A stream socket: open, with data, its peer half closed, its peer gone; as an object and as a number."""
    with Fds() as files:
        ours, theirs = files.socketpair()
        fd = ours.fileno()
        assert answers(ours, (IN, OUT)) == answers(fd, (IN, OUT)) == [[], [(fd, OUT)]]
        theirs.send(b"data")
        assert answers(ours, (IN | OUT,)) == [[(fd, IN | OUT)]]
        ours.recv(10)
        theirs.shutdown(sockets.SHUT_WR)
        assert answers(ours, (IN,)) == [[(fd, IN)]]
        theirs.close()
        assert answers(ours, (IN, ERR)) == [[(fd, IN | ERR)], [(fd, ERR)]]
        answers(ours), answers(fd)


def test_out_of_band_data(hub):
    """POLLPRI is for a tcp connection's urgent data alone, looked for and waited for."""
    with Fds() as files:
        ours, theirs = files.tcp_pair()
        fd = ours.fileno()
        theirs.send(b"ordinary")
        until(hub, lambda: pyzmq_poll((fd, IN)))
        assert answers(ours, (PRI, IN | PRI)) == [[], [(fd, IN)]]
        poller = greenzmq.Poller()
        poller.register(ours, PRI)
        task = polling(hub, poller)
        theirs.send(b"!", sockets.MSG_OOB)
        goes_on(hub, task)
        assert task.get() == [(fd, PRI)]
        assert answers(fd, (PRI, IN | PRI, OUT)) == [[(fd, PRI)], [(fd, IN | PRI)], [(fd, OUT)]]


def test_files_on_disk_are_always_ready(hub, tmp_path):
    """poll(2) calls them ready at once, epoll refuses them: a poll of one never waits, others are still found."""
    with Fds() as files, open_context(hub) as context, (tmp_path / "file").open("wb") as file:
        fd = file.fileno()
        expected = [[(fd, IN)], [(fd, OUT)], [(fd, IN | OUT)], []]
        assert answers(file, (IN, OUT, IN | OUT, PRI)) == answers(fd, (IN, OUT, IN | OUT, PRI)) == expected
        for other in (os.devnull, tmp_path):
            answers(*files.own(os.open(other, os.O_RDONLY)))
        socket, peer = pair(context)
        poller = greenzmq.Poller()
        poller.register(socket, IN)
        poller.register(fd, IN)
        assert poller.poll(LONG) == [(fd, IN)]
        peer.send(b"message")
        assert poller.poll(LONG) == [(socket, IN), (fd, IN)]
        poller.modify(file, OUT)
        poller.unregister(fd)
        assert poller.poll(LONG) == [(socket, IN), (fd, OUT)]


def test_nested_sets_of_descriptors(hub):
    """A selector is a descriptor, too, and so is what a Poller of ours itself waits on."""
    with Fds() as files, selectors.DefaultSelector() as selector:
        reader, writer = files.pipe()
        selector.register(reader, selectors.EVENT_READ)
        poller = greenzmq.Poller()
        poller.register(selector, IN)
        task = polling(hub, poller)
        os.write(writer, b"data")
        goes_on(hub, task)
        assert task.get() == pyzmq_poll((selector, IN)) == [(selector.fileno(), IN)]


def test_no_descriptor_at_all(hub):
    """A negative number is passed over, as by poll(2): what a closed socket's fileno() gives. That was POLLERR once."""
    with Fds() as files:
        closed, other = files.socketpair()
        poller = greenzmq.Poller()
        poller.register(closed, IN)
        poller.register(other, IN)
        assert poller.poll(0) == []
        closed.close()
        assert answers(closed) == answers(-1) == [[]] * len(MASKS)
        assert poller.poll(0) == pyzmq_poll((closed, IN), (other, IN)) == [(other.fileno(), IN | ERR)]
        poller.unregister(other)
        assert poller.poll(1) == []
        task = polling(hub, poller)
        task.kill()


# --- one file under several names -------------------------------------------------------------------------------------


def test_one_file_under_two_names(hub):
    """A number and an object for one file, each with its own events: each is answered for itself, in its place.

    Seen to fail in zmq_poll, where the answer for the one replaced that for the other.
    """
    with Fds() as files:
        ours, theirs = files.socketpair()
        fd = ours.fileno()
        registered = [(ours, OUT), (fd, IN)]
        for order in (registered, registered[::-1]):
            poller = greenzmq.Poller()
            for what, events in order:
                poller.register(what, events)
            assert poller.poll(0) == pyzmq_poll(*order) == greenzmq.zmq_poll(order, 0) == [(fd, OUT)]
        theirs.send(b"data")
        assert poller.poll(0) == pyzmq_poll(*order) == greenzmq.zmq_poll(order, 0) == [(fd, IN), (fd, OUT)]
        poller.unregister(ours)
        assert poller.poll(0) == [(fd, IN)]
        ours.recv(10)
        task = polling(hub, poller)
        theirs.send(b"data")
        goes_on(hub, task)


def test_zmq_poll_takes_one_object_twice(hub):
    """Each item is answered for its own events, in its place."""
    with open_context(hub) as context, Fds() as files:
        socket, peer = pair(context)
        ours, theirs = files.socketpair()
        peer.send(b"message")
        theirs.send(b"data")
        fd = ours.fileno()
        items = [(socket, IN), (fd, IN), (socket, OUT), (ours, OUT), (fd, OUT), (ours, IN), (socket, 0), (fd, IN | OUT)]
        expected = [(socket, IN), (fd, IN), (socket, OUT), (fd, OUT), (fd, OUT), (fd, IN), (fd, IN | OUT)]
        assert greenzmq.zmq_poll(items, 0) == greenzmq.zmq_poll(items, 10) == expected
        assert zmq.zmq_poll([item for item in items if item[0] is not socket], 0) == [
            item for item in expected if item[0] is not socket
        ]
        assert greenzmq.zmq_poll([], -1) == zmq.zmq_poll([], -1) == []


def test_zmq_poll_without_events(hub):
    """An item that asks for nothing is polled all the same: it is waited for, and a descriptor's error is reported."""
    with open_context(hub) as context, Fds() as files:
        socket, _ = pair(context)
        reader, writer = files.pipe()
        items = [(socket, 0), (reader, 0)]
        other = hub.spawn(lambda: None)
        assert greenzmq.zmq_poll(items, 1) == []
        assert other.done
        task = hub.spawn(greenzmq.zmq_poll, items)
        tick(hub, task)
        os.close(writer)
        goes_on(hub, task)
        assert task.get() == zmq.zmq_poll([(reader, 0)], 0) == [(reader, ERR)]


def test_select(hub):
    """As pyzmq's: objects come back as their numbers, sockets as themselves; seconds; what is ready for what."""
    with open_context(hub) as context, Fds() as files:
        left, right = pair(context)
        ours, theirs = files.socketpair()
        fd = ours.fileno()
        right.send(b"message")
        theirs.send(b"data")
        for timeout in (0, None, -1, 1.5, 0.0001):
            both = [left, ours]
            assert greenzmq.select(both, both, both, timeout) == ([left, fd], [left, fd], [])
            assert zmq.select([ours], [ours], [ours], timeout) == ([fd], [fd], [])
            assert greenzmq.select([right, fd], [], [], 0) == ([fd], [], [])
        left.recv()
        for timeout in (0.001, 0.0009, -0.0009):  # pyzmq cuts it down to milliseconds, towards 0
            assert greenzmq.select([left, right], [], [], timeout) == ([], [], [])
            assert zmq.select([plain(left)], [], [], timeout) == ([], [], [])
        task = hub.spawn(greenzmq.select, [left, right], [], [left])
        tick(hub, task)
        left.send(b"message")
        goes_on(hub, task)
        assert task.get() == ([right], [], [])
        theirs.close()
        ours.recv(10)
        assert greenzmq.select([], [], [fd], None) == zmq.select([], [], [fd]) == ([], [], [fd])


# --- closed, and used again -------------------------------------------------------------------------------------------


def test_closed_descriptors_are_errors(hub):
    """POLLERR at every poll, closed before the first or between two, until unregistered; pyzmq says the same."""
    with Fds() as files:
        for polled_before in (False, True):
            reader, writer = files.pipe()
            poller = greenzmq.Poller()
            poller.register(reader, IN)
            poller.register(writer, OUT)
            if polled_before:
                assert poller.poll(0) == [(writer, OUT)]
            os.close(reader)
            for timeout in (0, LONG):
                assert poller.poll(timeout) == pyzmq_poll((reader, IN), (writer, OUT))
                assert poller.poll(timeout) == [(reader, ERR), (writer, OUT | ERR)]
            poller.unregister(reader)
            os.close(writer)
            assert poller.poll(LONG) == [(writer, ERR)]
            poller.unregister(writer)
            assert poller.poll(LONG) == []
            # zmq_poll needs a descriptor of its own: it gets the number that is free, and may not take it for the file.
            for fd in (reader, writer):
                assert greenzmq.zmq_poll([(fd, IN)], 0) == zmq.zmq_poll([(fd, IN)], 0) == [(fd, ERR)]


def reopen(fd, files):
    """The ends of a new pipe; the one to read has the number `fd`."""
    reader, writer = files.pipe()
    if writer == fd:
        writer = files.own(os.dup(writer))[0]
    if reader != fd:
        os.dup2(reader, fd)
        os.close(reader)
    files.own(fd)
    return writer


@pytest.mark.parametrize("duplicated", [False, True])
def test_a_number_that_means_another_file(hub, duplicated):
    """Closed while registered and opened anew: the new file is polled, the old one no more, be it open elsewhere.

    epoll goes on reporting the old file under the old number as long as a duplicate of it lives: seen to be reported in
    place of the new one, and to make the hub spin, before the set was renewed.
    """
    with Fds() as files:
        poller = greenzmq.Poller()
        other, _ = files.pipe()
        poller.register(other, IN)
        fd, old_writer = files.pipe()
        for _ in range(3):
            poller.register(fd, IN)
            assert poller.poll(0) == []
            if duplicated:
                files.own(os.dup(fd))
            os.close(fd)
            writer = reopen(fd, files)
            if duplicated:
                os.write(old_writer, b"nobody reads this")
            assert poller.poll(0) == poller.poll(1) == []
            task = polling(hub, poller)
            assert rounds_of_idleness(hub) < 20
            os.write(writer, b"data")
            goes_on(hub, task)
            assert task.get() == [(fd, IN)]
            os.read(fd, 10)
            assert poller.poll(0) == []
            old_writer = writer


def test_a_file_that_gets_its_number_back(hub):
    """Closed while registered but open elsewhere, then under its old number again, polled meanwhile or not."""
    with Fds() as files:
        for polled in (True, False):
            fd, writer = files.pipe()
            (duplicate,) = files.own(os.dup(fd))
            poller = greenzmq.Poller()
            poller.register(fd, IN)
            assert poller.poll(0) == []
            os.close(fd)
            if polled:
                assert poller.poll(0) == [(fd, ERR)]
            else:
                poller.unregister(fd)
                poller.register(fd, IN)
            os.dup2(duplicate, fd)
            assert poller.poll(0) == []
            task = polling(hub, poller)
            os.write(writer, b"data")
            goes_on(hub, task)
            assert task.get() == [(fd, IN)]
            os.read(fd, 10)
            assert poller.poll(0) == []


class EnteredMeanwhile:
    """An epoll in which a finalizer enters each descriptor just before we do."""

    def __init__(self, epoll):
        self._epoll = epoll

    def __getattr__(self, name):
        return getattr(self._epoll, name)

    def register(self, fd, mask):
        self._epoll.register(fd, mask)
        self._epoll.register(fd, mask)


@pytest.mark.skipif(unpatched.epoll is None, reason="no epoll")
def test_a_finalizer_enters_it_meanwhile(hub):
    """As that of another Poller with the same descriptor does. Seen to fail, once in many runs: the file exists."""
    with Fds() as files:
        poller = greenzmq.Poller()
        fd, _ = files.pipe()
        poller.register(fd, IN)
        assert poller.poll(1) == []  # it is in the set
        os.close(fd)
        writer = reopen(fd, files)
        with other_epoll(poller, EnteredMeanwhile):
            assert poller.poll(1) == []
        task = polling(hub, poller)
        os.write(writer, b"data")
        goes_on(hub, task)
        assert task.get() == [(fd, IN)]


def test_unregistered_after_it_was_closed(hub):
    """A duplicate of what was registered keeps nobody awake. Seen to make the hub spin before the set was renewed."""
    with Fds() as files, open_context(hub) as context:
        socket, peer = pair(context)
        fd, writer = files.pipe()
        files.own(os.dup(fd))
        poller = greenzmq.Poller()
        for what in (socket, fd):
            poller.register(what, IN)
        assert poller.poll(0) == []
        tasks = [polling(hub, poller), polling(hub, poller)]
        os.close(fd)
        poller.unregister(fd)
        os.write(writer, b"nobody reads this")
        assert poller.poll(0) == []  # while the others wait
        assert rounds_of_idleness(hub) < 20
        peer.send(b"message")
        goes_on(hub, *tasks)
        assert [task.get() for task in tasks] == [[(socket, IN)]] * 2


def rounds_of_idleness(hub):
    """How often the hub goes round while nothing happens. No timer ends it: some loops go round to its last moment."""
    hub.sleep(0.01)
    with count_rounds(hub) as rounds:
        hub.run_in_thread(time.sleep, 0.02)
        return rounds()


def test_the_number_of_a_closed_socket(hub):
    """A socket closed while registered, its number a file's now: the file is polled, the socket is an error."""
    with Fds() as files, open_context(hub) as context:
        socket, peer = pair(context)
        closed = context.socket(zmq.PULL)
        number = descriptor(closed)
        poller = greenzmq.Poller()
        for registered in (socket, closed):
            poller.register(registered, IN)
        assert poller.poll(0) == []
        closed.close()
        until(hub, lambda: not is_open(number))
        writer = reopen(number, files)
        poller.register(number, IN)
        with pytest.raises(zmq.ZMQError):
            poller.poll(0)
        poller.unregister(closed)
        assert poller.poll(0) == []
        task = polling(hub, poller)
        os.write(writer, b"data")
        goes_on(hub, task)
        assert task.get() == [(number, IN)]
        peer.send(b"message")
        assert poller.poll(0) == [(socket, IN), (number, IN)]


def test_an_object_whose_number_changes(hub):
    """The number of an object with a fileno() is asked at each poll, as pyzmq does."""
    with Fds() as files:
        first, second = files.pipe(), files.pipe()

        class Changing:
            def fileno(self):
                return self.fd

        changing = Changing()
        poller = greenzmq.Poller()
        poller.register(changing, IN)
        os.write(first[1], b"data")
        for fd, found in ((first[0], True), (second[0], False), (first[0], True), (-1, False), (second[0], False)):
            changing.fd = fd
            assert poller.poll(0) == pyzmq_poll((changing, IN)) == [(fd, IN)] * found


# --- without epoll ----------------------------------------------------------------------------------------------------


def test_without_epoll(hub, monkeypatch):
    """Where there is no epoll (kqueue), the selector of the system holds the set: sockets and files, waiting, reuse."""
    monkeypatch.setattr(unpatched, "epoll", None)
    with Fds() as files, open_context(hub) as context:
        socket, peer = pair(context)
        ours, theirs = files.socketpair()
        fd = ours.fileno()
        poller = greenzmq.Poller()
        poller.register(socket, IN)
        poller.register(ours, IN)
        poller.register(fd, PRI)
        assert poller.poll(0) == []
        task = polling(hub, poller)
        theirs.send(b"data")
        goes_on(hub, task)
        assert task.get() == [(fd, IN)]
        peer.send(b"message")
        assert poller.poll(LONG) == [(socket, IN), (fd, IN)]
        os.close(ours.detach())
        writer = reopen(fd, files)
        poller.unregister(ours)
        poller.modify(fd, IN)
        assert socket.recv() == b"message"
        task = polling(hub, poller)
        os.write(writer, b"data")
        goes_on(hub, task)
        assert task.get() == [(fd, IN)]
        poller.unregister(fd)
        poller.unregister(socket)
        del task
        gc.collect()


@pytest.mark.parametrize("kind", ["file", "socket"])
def test_too_many_are_an_error(hub, kind):
    """What the system has no room for is its own error at the poll, not a descriptor that failed; later it works."""
    with Fds() as files, open_context(hub) as context:
        reader, writer = files.pipe()
        socket, peer = pair(context)
        what, act = (reader, lambda: os.write(writer, b"data")) if kind == "file" else (socket, lambda: peer.send(b""))
        poller = greenzmq.Poller()
        poller.register(what, IN)

        class Full:
            def __init__(self, epoll):
                self.epoll = epoll

            def __getattr__(self, name):
                return getattr(self.epoll, name)

            def register(self, fd, mask):
                raise OSError(28, "No space left on device")

        with other_epoll(poller, Full):
            for _ in range(2):
                with pytest.raises(OSError, match="No space"):
                    poller.poll(LONG)
        task = polling(hub, poller)
        act()
        goes_on(hub, task)
        assert task.get() == [(what, IN)]
