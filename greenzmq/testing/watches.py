# Watch


@check
def check_watch_read(hub: Hub) -> None:
    """A reading watch is level-triggered: it fires while there is something to read, and only then."""
    fired: list[object] = []
    with pair() as (ours, theirs), watching(hub, ours.fileno(), lambda: fired.append(None)) as watch:
        watch.start()
        park(hub, LOOK)
        require(not fired, "a watch does not fire while there is nothing to read")
        theirs.send(b"x")
        until(hub, lambda: len(fired) >= 3, "a watch fires again as long as nobody reads (level-triggered)")
        ours.recv(1)
        fired.clear()
        park(hub, LOOK)
        require(not fired, "a watch does not fire after everything was read")


@check
def check_watch_write(hub: Hub) -> None:
    """A writing watch fires while there is room; reading and writing watches of one descriptor are independent."""
    fired: dict[str, int] = {"read": 0, "write": 0}

    def count(kind: str) -> None:
        fired[kind] += 1

    with pair() as (ours, theirs):
        fd = ours.fileno()
        reading = hub.watch(fd, lambda: count("read"))
        writing = hub.watch(fd, lambda: count("write"), write=True)
        reading.start()
        writing.start()
        until(hub, lambda: fired["write"] >= 2, "a writing watch fires while there is room")
        require(fired["read"] == 0, "a reading watch does not fire because there is room to write")
        theirs.send(b"x")
        until(hub, lambda: fired["read"] >= 2, "reading and writing watches of one descriptor both work")
        writing.close()
        before = dict(fired)
        until(hub, lambda: fired["read"] > before["read"], "one direction goes on when the other is closed")
        require(fired["write"] == before["write"], "a closed watch does not fire")
        reading.close()


@check
def check_watch_lifecycle(hub: Hub) -> None:
    """`start`, `stop` and `close` are idempotent; a stopped watch is silent and can be started again."""
    fired: list[object] = []
    with pair() as (ours, theirs), watching(hub, ours.fileno(), lambda: fired.append(None)) as watch:
        theirs.send(b"x")
        park(hub, LOOK)
        require(not fired, "a watch that was not started does not fire")
        for _ in range(3):
            watch.start()
            watch.start()
            require(hub.watching == {(ours.fileno(), False): watch}, "hub.watching has exactly the started watches")
            until(hub, lambda: fired, "a watch that is started again fires")
            watch.stop()
            watch.stop()
            fired.clear()
            park(hub, LOOK)
            require(not fired, "a stopped watch does not fire")
        watch.start()
        watch.close()
        watch.close()
        watch.stop()
        park(hub, LOOK)
        require(not fired and watch.closed, "a closed watch does not fire")
        _refused(watch, WatchError, "a closed watch cannot be started")


def _refused(watch: Watch, errors: type[Exception] | tuple[type[Exception], ...], rule: str) -> None:
    try:
        watch.start()
    except errors:
        require(not watch.started, f"{rule}, and is not `started` then")
        return
    finally:
        watch.close()
    raise ContractError(rule)


@check
def check_watch_is_alone(hub: Hub) -> None:
    """A second watch on the same descriptor and direction is refused, and the first goes on."""
    fired: list[object] = []
    with pair() as (ours, theirs), watching(hub, ours.fileno(), lambda: fired.append(None)) as watch:
        watch.start()
        _refused(hub.watch(ours.fileno(), fail), WatchError, "a second watch on a descriptor is refused")
        theirs.send(b"x")
        until(hub, lambda: fired, "the first watch goes on when a second one was refused")
        watch.stop()
        with watching(hub, ours.fileno(), lambda: fired.append(None)) as second:
            fired.clear()
            second.start()
            until(hub, lambda: fired, "a second watch takes over from one that is stopped")


@check
def check_watch_bad_descriptor(hub: Hub) -> None:
    """A bad descriptor shows at `start`, leaves nothing behind, and the number can be watched when it is good again."""
    for write in (False, True):
        with pair() as (ours, _):
            fd = ours.fileno()
        _refused(hub.watch(fd, fail, write=write), (OSError, ValueError), "a closed descriptor is refused by start()")
        _refused(hub.watch(-1, fail, write=write), (OSError, ValueError), "descriptor -1 is refused by start()")
        park(hub, LOOK)
        fired: list[object] = []
        with pair() as (ours, theirs):
            if ours.fileno() != fd:
                os.dup2(ours.fileno(), fd)
            theirs.send(b"x")
            with watching(hub, fd, lambda fired=fired: fired.append(None), write=write) as watch:  # type: ignore[misc]
                watch.start()
                until(hub, lambda fired=fired: fired, "a number that was bad once can be watched")  # type: ignore[misc]
            if ours.fileno() != fd:
                os.close(fd)


@check
def check_watch_reused_descriptor(hub: Hub) -> None:
    """After a watch was closed, or dropped while stopped, a new file under the same number can be watched."""
    numbers = set()
    for close in (True, False) * 3:
        fired: list[object] = []
        with pair() as (ours, theirs):
            numbers.add(ours.fileno())
            watch = hub.watch(ours.fileno(), lambda fired=fired: fired.append(None))  # type: ignore[misc]
            watch.start()
            theirs.send(b"x")
            until(hub, lambda fired=fired: fired, "a new file under an old number can be watched")  # type: ignore[misc]
            if close:
                watch.close()
            else:
                watch.stop()
            del watch
    require(len(numbers) < 6, "this check needs descriptors to be reused; run it alone")


@check
def check_watch_stop_in_the_same_round(hub: Hub) -> None:
    """A watch that another watch's callback stops does not fire, even if the loop has collected its event."""
    with pair() as one, pair() as two:
        fired: list[int] = []
        watches: list[Watch] = []

        def stop_other(number: int) -> None:
            fired.append(number)
            watches[1 - number].stop()

        for number, (ours, theirs) in enumerate((one, two)):
            watches.append(hub.watch(ours.fileno(), functools.partial(stop_other, number)))
            theirs.send(b"x")
        for watch in watches:
            watch.start()
        until(hub, lambda: fired, "a watch fires")
        park(hub, 0.001)
        require(len(set(fired)) == 1, "a watch does not fire after stop(), not even for an event already collected")
        for watch in watches:
            watch.close()


@check
def check_watch_survives_exceptions(hub: Hub) -> None:
    """A watch whose callback raises goes on, and so do the other watches."""
    fired: dict[int, int] = {0: 0, 1: 0, 2: 0}

    def count(number: int) -> None:
        fired[number] += 1
        if number != 1:
            fail()

    with pair() as (ours, theirs), pair() as (ours_too, theirs_too):
        theirs.send(b"x")
        theirs_too.send(b"x")
        watches = [
            hub.watch(ours.fileno(), lambda: count(0)),
            hub.watch(ours_too.fileno(), lambda: count(1)),
            hub.watch(ours.fileno(), lambda: count(2), write=True),
        ]
        for watch in watches:
            watch.start()
        until(hub, lambda: min(fired.values()) >= 3, f"watches go on when a callback raises, but: {fired}")
        for watch in watches:
            watch.close()


@check
def check_watch_closes_itself(hub: Hub) -> None:
    """A callback may stop or close its own watch."""
    with pair() as (ours, theirs):
        theirs.send(b"x")
        for method in ("stop", "close"):
            fired: list[object] = []
            watch = hub.watch(ours.fileno(), lambda fired=fired: (fired.append(None), end()))  # type: ignore[misc]
            end: Callable[[], None] = getattr(watch, method)
            watch.start()
            until(hub, lambda fired=fired: fired, "a watch fires")  # type: ignore[misc]
            park(hub, LOOK)
            require(len(fired) == 1, f"a watch does not fire after {method}() in its own callback")
            watch.close()


@check
def check_watch_ownership(hub: Hub) -> None:
    """A started watch is kept alive by the hub; a stopped one goes with its owner, closed or not."""
    count: list[object] = []
    with pair() as (ours, theirs):
        owner = Owner(count)
        watch = owner.held = hub.watch(ours.fileno(), owner.called)
        watch.start()
        alive = weakref.ref(owner)
        del owner, watch
        gc.collect()
        theirs.send(b"x")
        until(hub, lambda: count, "a started watch fires although nobody but the hub knows it")
        hub.watching[ours.fileno(), False].stop()
        park(hub, 0.001)
        gc.collect()
        require(alive() is None, "a stopped watch keeps its owner alive")


