"""Spurious readiness: ``EVENTS`` promises room that a `send` does not find.

Fact: a ROUTER_MANDATORY, XPUB_NODROP or STREAM says ``POLLOUT`` whatever the peer that is meant can take (router.cpp,
xhas_out). Consequence: a sender that retries on the promise would spin. Choice: a sender that met EAGAIN in spite of a
promise is not woken by that promise again, only the one behind it is. The next signal counts for everybody.
"""

from __future__ import annotations

from time import monotonic

__all__ = ["SpuriousReadiness"]

#: Seconds within which libzmq processes commands in one `send` only: 3,000,000 ticks of the processor (config.hpp).
SOON = 0.0005


class SpuriousReadiness:
    """What a sender remembers, on its waiter, that was promised room and met EAGAIN.

    Attributes
    ----------
    generation : int
        The number of the observation of ``EVENTS`` that was the promise.
    """

    __slots__ = ("_checked", "_checked_at", "generation")

    def __init__(self) -> None:
        self.generation = -1
        self._checked = -1
        self._checked_at = 0.0

    def refused_at(self, generation: int) -> None:
        """The promise of this observation was none."""
        self.generation = generation

    def has_to_try_again(self, generation: int) -> bool:
        """Whether the sender has to try once more after the look at ``EVENTS`` that follows.

        The look may take the signal of room that comes just then, and only an attempt tells. That attempt takes no
        signal from the others: it is throttled, so soon after the first. If it did not come soon, all is to be done
        again.
        """
        now = monotonic()
        if self._checked == generation and now - self._checked_at < SOON:
            return False
        self._checked, self._checked_at = generation, now
        return True
