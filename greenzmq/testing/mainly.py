# The main greenlet


@main_greenlet_check
def check_system_exceptions(hub: Hub) -> None:
    """`KeyboardInterrupt` and `SystemExit` out of a callback reach the main greenlet, and the hub goes on."""
    require(getcurrent().parent is None, "call this check in the thread's main greenlet")
    for error in (KeyboardInterrupt, SystemExit):
        hub.call_soon(fail, error)
        _arrives(hub, error, "call_soon")
        hub.call_later(0.001, fail, error)
        _arrives(hub, error, "call_later")
        hub.call_soon_threadsafe(fail, error)
        _arrives(hub, error, "call_soon_threadsafe")
        fired: list[object] = []
        with pair() as (ours, theirs):
            watch = hub.watch(ours.fileno(), lambda fired=fired, e=error: fired.append(fail(e)))  # type: ignore[misc]
            watch.start()
            theirs.send(b"x")
            _arrives(hub, error, "watch")
            _arrives(hub, error, "watch that raised before")
            watch.close()


def _arrives(hub: Hub, error: type[BaseException], kind: str) -> None:
    seen: list[object] = []
    hub.call_soon(seen.append, None)
    guard = hub.call_later(PATIENCE, getcurrent().switch)
    try:
        hub.switch()
    except error:
        guard.cancel()
    else:
        raise ContractError(f"{error.__name__} out of a callback of {kind} reaches the main greenlet")
    if "watch" not in kind:
        until(hub, lambda: seen, f"the hub goes on after {error.__name__} out of a callback of {kind}")


