"""Whether the process may open more file descriptors: asked where libzmq would end the process if it may not."""

from __future__ import annotations

import os

__all__ = ["refuse_without_room"]


def refuse_without_room(count: int) -> None:
    """Raise `OSError` (``EMFILE``, ``ENFILE``) unless `count` descriptors can be opened now. They are closed again."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened += os.pipe()
    finally:
        for descriptor in opened:
            os.close(descriptor)
