"""``python tests/clients/table.py RESULTS.json``: the page in the documentation, of what `nox -s clients` has seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["page"]

HEAD = """\
# Programs that were seen to run

What greenzmq was seen to run, in real processes on the loopback, with every answer checked. `nox -s clients` does it
again, and writes this page. The programs are started by `greenzmq run`, and are not changed; only the applications of
uvicorn import greenzmq themselves, where the case says so.

| program | hub | what was checked |
|---|---|---|
"""
TAIL = """
Known not to work:

- jupyter_client's blocking client polls a socket inside of a coroutine of its own. greenzmq refuses that, since it
  would stop an asyncio loop; use the awaitable client, with `greenzmq run --aio`.
"""


def page(results: list[dict[str, Any]]) -> str:
    """The page as Markdown. A case that has failed is in it as such."""
    rows = [
        f"| {result['program']} {result['version']} | {result['case']} | "
        f"{result['checked'] if result['passed'] else 'fails'} |"
        for result in results
    ]
    return HEAD + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text())))
