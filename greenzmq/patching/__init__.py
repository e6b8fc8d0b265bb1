"""Other people's ``import zmq`` gets green classes."""

from __future__ import annotations

from .patch import patch, patched, unpatch

__all__ = ["patch", "patched", "unpatch"]
