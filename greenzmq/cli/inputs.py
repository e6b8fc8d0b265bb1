"""The requests that the demo sends: the files below a directory, with the right answers."""

from __future__ import annotations

import hashlib
import os
import stat
import sysconfig
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO, NamedTuple

__all__ = [
    "InputError",
    "Inputs",
    "Request",
    "Skipped",
    "collect",
    "collect_standard_library",
    "describe",
    "standard_library",
]

PART = 1 << 20
"""The most bytes in one request, so that 200 clients hold 200 MB at most, however large the files are. A larger file is
sent as several requests, each with its own answer. No file of the standard library is that large."""

THIRD_PARTY = ("site-packages", "dist-packages")

Report = Callable[[int], object]


class InputError(Exception):
    """There is nothing to send: the path does not exist, cannot be read, or contains no file."""


class Request(NamedTuple):
    """One file, or one part of a large one, and the right answer."""

    path: str
    """Relative to the directory."""
    offset: int
    size: int
    sha256: str
    lines: int
    """The number of newline characters, as ``wc -l`` counts them."""

    @property
    def name(self) -> str:
        return f"{self.path} from byte {self.offset:,}" if self.offset else self.path

    def read(self, root: str) -> bytes:
        with open(os.path.join(root, self.path), "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Skipped(NamedTuple):
    """A file or directory that could not be read."""

    path: str
    why: str


class Inputs(NamedTuple):
    """The requests that `collect` has made, and what it could not read."""

    root: str
    requests: list[Request]
    files: int
    skipped: list[Skipped]

    @property
    def size(self) -> int:
        """The size of all requests, in bytes."""
        return sum(request.size for request in self.requests)


def standard_library() -> str:
    """Return the directory of the running interpreter's standard library."""
    return sysconfig.get_path("stdlib")


def collect_standard_library(report: Report = lambda files: None) -> Inputs:
    """`collect` every ``.py`` file of the running interpreter's standard library."""
    return collect(standard_library(), ".py", THIRD_PARTY, report)


def collect(
    root: str,
    suffix: str = "",
    without: Collection[str] = (),
    report: Report = lambda files: None,
) -> Inputs:
    """Read every regular file below `root` whose name ends with `suffix`, and compute the answers.

    Links to files are followed, links to directories are not.

    Parameters
    ----------
    root : str
        The directory.
    suffix : str
        The end of the names; empty means any.
    without : collection of str
        The names of directories that are left out.
    report : callable
        Called after each file, with the number of files so far.

    Raises
    ------
    InputError
        `root` does not exist, is not a directory, cannot be read, or contains no readable file.
    """
    try:
        os.scandir(root).close()
    except OSError as error:
        raise InputError(f"cannot read {root}: {_reason(error)}") from error
    inputs = Inputs(root, [], 0, [])
    files = 0
    for path in _walk(root, suffix, without, inputs.skipped):
        try:
            inputs.requests.extend(_requests(root, path))
            files += 1
            report(files)
        except OSError as error:
            inputs.skipped.append(Skipped(path, _reason(error)))
    if not files:
        unread = f"; {len(inputs.skipped)} could not be read" if inputs.skipped else ""
        raise InputError(f"no {suffix or 'regular'} file to send in {root}{unread}")
    return inputs._replace(files=files)


def describe(content: bytes) -> tuple[str, int]:
    """Return the SHA-256 and the number of lines of `content`."""
    return hashlib.sha256(content).hexdigest(), content.count(b"\n")


def _walk(root: str, suffix: str, without: Collection[str], skipped: list[Skipped]) -> Iterator[str]:
    """Yield the paths of the files, relative to `root`, each directory's in the order of their names."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(os.path.relpath(error.filename, root), _reason(error)))

    for folder, subfolders, names in os.walk(root, onerror=unreadable):
        subfolders[:] = sorted(set(subfolders).difference(without))
        for name in sorted(names):
            if name.endswith(suffix):
                yield os.path.relpath(os.path.join(folder, name), root)


def _requests(root: str, path: str) -> list[Request]:
    if not stat.S_ISREG(os.stat(os.path.join(root, path)).st_mode):
        raise OSError("not a regular file")
    with open(os.path.join(root, path), "rb") as file:
        return list(_parts(path, file))


def _parts(path: str, file: BinaryIO) -> Iterator[Request]:
    offset = 0
    while True:
        content = file.read(PART)
        if content or not offset:
            yield Request(path, offset, len(content), *describe(content))
        if len(content) < PART:
            return
        offset += len(content)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
