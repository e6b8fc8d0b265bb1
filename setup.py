"""The optional extension in C, and archives that come out the same each time; all else stands in pyproject.toml.

The extension is built where that is possible, and left out where not: greenzmq has all of it in Python, too. With
GREENZMQ_PURE=1 in the environment nothing is built, and the wheel is one for every platform.

With SOURCE_DATE_EPOCH in the environment the sdist and the wheels do not depend on when, where and by whom they are
built. ``nox -s release`` holds that.
"""

from __future__ import annotations

import gzip
import os
import platform
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.sdist import sdist


def is_wanted() -> bool:
    """Whether to try. The extension looks libzmq up by dlsym, and relies on the GIL."""
    return (
        os.environ.get("GREENZMQ_PURE", "0") in ("", "0")
        and platform.python_implementation() == "CPython"
        and sys.platform != "win32"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )


class ReproducibleSdist(sdist):
    """Setuptools' own sdist has its builder's times, names and modes in it; in this one they are always the same."""

    def make_archive(self, base_name: str, kind: str, *args: Any, **options: Any) -> str:
        """Write the archive, and then once more with its members made alike."""
        path: str = super().make_archive(base_name, kind, *args, **options)
        if kind == "gztar" and "SOURCE_DATE_EPOCH" in os.environ:
            make_alike(Path(path), int(os.environ["SOURCE_DATE_EPOCH"]))
        return path


def make_alike(path: Path, time: int) -> None:
    """Write a ``.tar.gz`` anew: of the same members, in order of their names, all of this time and of nobody."""
    new = path.with_suffix(".new")
    with (
        tarfile.open(path) as old,
        open(new, "wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=time) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in sorted(old, key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            archive.addfile(member, old.extractfile(member) if member.isfile() else None)
    new.replace(path)


# What is generated gets its mode by this, whatever the builder's is; what is copied has that of the sdist.
os.umask(0o022)

FASTPATH = Extension(
    "greenzmq.sockets._fastpath",
    ["greenzmq/sockets/_fastpath.c", "greenzmq/sockets/_shared.c"],
    depends=["greenzmq/sockets/_fastpath.h"],
    libraries=["dl"] if sys.platform.startswith("linux") else [],  # part of libc since glibc 2.34
    # A wheel is built in a folder whose name is drawn by lot, and the debugger's table would have it.
    extra_compile_args=["-std=c11", "-fvisibility=hidden", f"-ffile-prefix-map={os.getcwd()}=."],
    optional=True,  # without a compiler, or where it fails, a warning and no extension
)

setup(ext_modules=[FASTPATH] if is_wanted() else [], cmdclass={"sdist": ReproducibleSdist})
