"""Spurious readiness: ``EVENTS`` promises room that a `send` does not find.

Fact: a ROUTER with ``ROUTER_MANDATORY``, an XPUB with ``XPUB_NODROP`` and a STREAM report ``POLLOUT`` without knowing
to which peer a `send` will go, and whether that peer has room (router.cpp, xhas_out). Consequence: a sender that
retries whenever ``EVENTS`` says ``POLLOUT`` would spin. Choice: each observation of ``EVENTS`` has a number, its
*generation*. A sender that met EAGAIN after an observation is not woken for the same observation again; the sender
behind it in the queue is. A new signal is a new observation, for all senders.
"""

from __future__ import annotations

from time import monotonic

__all__ = ["SpuriousReadiness"]

#: Seconds within which at most one `send` processes commands: libzmq skips that if its last throttled run was less than
#: 3,000,000 ticks of the processor ago (config.hpp). That is about 1 ms; half of it is safe on a faster processor.
SOON = 0.0005


class SpuriousReadiness:
    """A record that its waiter, a sender, was promised room and met EAGAIN.

    Attributes
    ----------
    generation : int
        The number of the observation of ``EVENTS`` that promised room; -1 for none.
    """

    __slots__ = ("_checked", "_checked_at", "generation")

    def __init__(self) -> None:
        self.generation = -1
        self._checked = -1
        self._checked_at = 0.0

    def refused_at(self, generation: int) -> None:
        """Note that a `send` met EAGAIN although the observation with this number promised room."""
        self.generation = generation

    def has_to_try_again(self, generation: int) -> bool:
        """Whether the sender has to try once more after the caller's next read of ``EVENTS``.

        The caller is about to read ``EVENTS``. That read may consume a signal that announces room for this very sender,
        and only another attempt can tell. The other attempt consumes no signal of others, if it follows within `SOON`:
        libzmq then processes no commands in it. If it came later it may have consumed one, so the caller has to read
        ``EVENTS`` and try again.
        """
        now = monotonic()
        if self._checked == generation and now - self._checked_at < SOON:
            return False
        self._checked, self._checked_at = generation, now
        return True
