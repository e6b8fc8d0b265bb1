"""The optional extension in C; everything else stands in pyproject.toml.

It is built where that is possible, and left out where not: greenzmq has all of it in Python, too. With GREENZMQ_PURE=1
in the environment nothing is built, and the wheel is one for every platform.
"""

import os
import platform
import sys
import sysconfig

from setuptools import Extension, setup


def is_wanted() -> bool:
    """Whether to try. The extension looks libzmq up by dlsym, and relies on the GIL."""
    return (
        os.environ.get("GREENZMQ_PURE", "0") in ("", "0")
        and platform.python_implementation() == "CPython"
        and sys.platform != "win32"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )


FASTPATH = Extension(
    "greenzmq.sockets._fastpath",
    ["greenzmq/sockets/_fastpath.c"],
    libraries=["dl"] if sys.platform.startswith("linux") else [],  # part of libc since glibc 2.34
    extra_compile_args=["-std=c11"],
    optional=True,  # without a compiler, or where it fails, a warning and no extension
)

setup(ext_modules=[FASTPATH] if is_wanted() else [])
