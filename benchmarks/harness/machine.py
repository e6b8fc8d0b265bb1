"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import zmq

import greenzmq
from greenzmq.sockets import accelerator as fast_path

__all__ = ["COMPILED", "FAST_PATH", "machine", "versions"]

FAST_PATH = "fast path"
"""Where `versions` says whether the compiled fast path is used."""
COMPILED = "compiled"

PACKAGES = ("pyzmq", "greenlet", "gevent", "eventlet", "uvloop")


def machine() -> dict[str, Any]:
    """The computer and its system, and how busy it was."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory GB": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Of everything that is measured; what is not installed is left out."""
    found = {
        "greenzmq": greenzmq.__version__,
        FAST_PATH: fast_path.status(),
        "Python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.python_compiler()})",
        "libzmq": zmq.zmq_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
