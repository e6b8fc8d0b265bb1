"""The site that was built: a search finds each public name, and each message."""

from __future__ import annotations

import html
import importlib
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
SITE = HERE / "_build"
sys.path.insert(0, str(HERE / "_ext"))

from public import ALL, PUBLIC  # noqa: E402
from support.messages import messages  # noqa: E402


def words() -> dict[str, str]:
    """The text of each page, without its markup, in one line."""
    pages = {}
    for path in SITE.rglob("*.html"):
        if path.name not in {"search.html", "genindex.html", "py-modindex.html"}:
            main = re.search(r'<article role="main".*?>(.*)</article>', path.read_text(encoding="utf-8"), re.DOTALL)
            assert main, path
            text = html.unescape(re.sub(r"<[^>]+>", "", main[1]))
            pages[path.relative_to(SITE).as_posix()] = " ".join(text.split())
    return pages


PAGES = words()


def test_every_public_name_is_found():
    """Each stands on a page of the reference besides the list of what is public."""
    reference = " ".join(text for name, text in PAGES.items() if name.startswith("reference/") and "index" not in name)
    found = {word.strip(".") for word in re.findall(r"[\w.]+", reference)}
    for module, said in PUBLIC.items():
        for name in importlib.import_module(module).__all__ if said == ALL else said:
            assert found & {name, f"{module}.{name}"}, f"{module}.{name}"


def test_every_message_is_found():
    """Each stands on its page as it is raised, and that page is in the index of the search."""
    page = PAGES["reference/messages.html"]
    for message in messages():
        assert " ".join(message.text.split("\n")[0].split()) in page, message
    assert '"reference/messages"' in (SITE / "searchindex.js").read_text(encoding="utf-8")


def test_every_page_is_in_the_index():
    """No page is left out of the search."""
    index = (SITE / "searchindex.js").read_text(encoding="utf-8")
    for path in [*HERE.rglob("*.md"), *HERE.rglob("*.rst")]:
        name = path.relative_to(HERE).with_suffix("").as_posix()
        if not name.startswith("_"):
            assert f'"{name}"' in index, name
