"""Keep CPython 3.11.0 to 3.11.7 from failing when a finalizer parses Python while Python is being parsed.

Fact: in these releases all calls of `ast.parse` share one counter of the recursion depth (python/cpython#106905). A
call that begins and ends inside another one leaves a wrong depth behind, and the outer call raises SystemError.

Consequence: pytest parses the source of a test that has failed, to report it. If the garbage collector runs meanwhile,
it may free a task whose error nobody has seen. That is reported with a traceback, for which Python parses a line of
code. The run then ended in an INTERNALERROR, without the name of the test that had failed.

Choice: while these releases parse, the garbage collector does not run. A later one runs it between two bytecodes only.
"""

from __future__ import annotations

import ast
import functools
import gc
import sys
import threading
from typing import Any

__all__ = ["mend_parser"]

_lock = threading.RLock()  # the garbage collector is on or off for all threads
_parse = ast.parse


def mend_parser() -> None:
    """Replace `ast.parse`, if this release needs it. pytest, `traceback` and hypothesis look it up at each call."""
    if (3, 11) <= sys.version_info < (3, 11, 8):
        ast.parse = _parse_without_collecting


@functools.wraps(_parse)
def _parse_without_collecting(*args: Any, **kwargs: Any) -> Any:
    with _lock:
        collects = gc.isenabled()
        gc.disable()
        try:
            return _parse(*args, **kwargs)
        finally:
            if collects:
                gc.enable()
