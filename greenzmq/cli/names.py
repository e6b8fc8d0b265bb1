"""Hubs as they are named on the command line and in the environment."""

from __future__ import annotations

from ..hubs import hub_class, known_hubs

__all__ = ["resolve"]


def resolve(name: str) -> str:
    """The registry's name of a hub. Imports nothing if it is one of those that are known and installed.

    Raises
    ------
    UnknownHubError, MissingHubError
        With the line that helps.
    """
    if any(hub.name == name and hub.installed for hub in known_hubs()):
        return name
    return hub_class(name).name
