"""The hubs of other packages: the entry points of the group ``greenzmq.hubs``.

Imported only when a name is asked for that is not built in: to import `importlib.metadata` takes longer than to import
all of `zmq`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any

__all__ = ["ForeignHub", "foreign_hubs", "left_out"]

#: The entry-point group in which other packages name their hubs.
GROUP = "greenzmq.hubs"


@dataclass(frozen=True)
class ForeignHub:
    """A hub that another package names.

    Attributes
    ----------
    path : str
        What its entry point says: ``"package.module:Class"``, if it is right.
    origin : str
        Which package has named it, for messages.
    fault : str
        Why the name cannot be used; empty if it can, as far as one can tell without an import.
    """

    path: str
    origin: str
    fault: str


def foreign_hubs(taken: Collection[str], is_path: Callable[[str], bool]) -> dict[str, ForeignHub]:
    """The hubs of other packages, by name, without those whose names are `taken`. Equal entry points count once."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in _entry_points():
        entries = found.setdefault(entry.name, [])
        if entry.value not in (other.value for other in entries):
            entries.append(entry)
    return {
        name: ForeignHub(entries[0].value, _origin(entries[0]), _fault(entries, is_path))
        for name, entries in found.items()
        if name not in taken
    }


def left_out() -> list[str]:
    """The packages whose entry points cannot be read, with the reasons, for messages: they may have named a hub."""
    try:
        entry_points(group=GROUP)
    except Exception:
        return [fault for distribution in distributions() if (fault := _entries_of(distribution)[1])]
    return []


def _entry_points() -> Iterable[EntryPoint]:
    try:
        return entry_points(group=GROUP)
    except Exception:  # one package's file that cannot be read makes this fail for all: leave that package out
        return [entry for distribution in distributions() for entry in _entries_of(distribution)[0]]


def _entries_of(distribution: Any) -> tuple[list[EntryPoint], str]:
    """The entry points of a package; and why they cannot be read, or an empty string."""
    try:
        return [entry for entry in distribution.entry_points if entry.group == GROUP], ""
    except Exception as error:  # as above
        return [], f"{_package(distribution)} ({type(error).__name__}: {' '.join(str(error).split())})"


def _fault(entries: list[EntryPoint], is_path: Callable[[str], bool]) -> str:
    """Why the entry points for a name cannot be used; empty if they can."""
    if len(entries) > 1:
        places = " and ".join(f"{entry.value!r} of {_origin(entry)}" for entry in entries)
        return f"it is an entry point twice, as {places}; use 'package.module:Class' instead"
    if not is_path(entries[0].value):
        return f"the entry point of {_origin(entries[0])} says {entries[0].value!r}, not 'package.module:Class'"
    return ""


def _origin(entry: EntryPoint) -> str:
    return _package(entry.dist)


def _package(distribution: Any) -> str:
    try:
        name = distribution.name if distribution else None
    except Exception:  # broken metadata again, and only the name is lost
        name = None
    if name:
        return f"package {name}"
    where = getattr(distribution, "_path", None)
    return f"a package without a name in {where}" if where else "a package without a name"
