"""The site that was built: a search finds each public name, and each message."""

from __future__ import annotations

import html
import importlib
import re
import sys
from pathlib import Path
from urllib.parse import unquote

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


def test_every_link_within_leads_somewhere():
    """Each link of each page to another page, to a place in it, or to a file leads to what is there."""
    pages = {path: path.read_text(encoding="utf-8") for path in SITE.rglob("*.html")}
    places = {path: {*re.findall(r'\bid="([^"]+)"', text)} for path, text in pages.items()}
    wrong, seen = [], 0
    for path, text in pages.items():
        for link in re.findall(r'<(?:a|img|link|script)\b[^>]*?\b(?:href|src)="([^"]+)"', text):
            if re.match(r"[a-z]+:|//", link):
                continue
            target, _, place = html.unescape(link).partition("#")
            file = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            seen += 1
            if not file.is_file() or (place and file in places and unquote(place) not in places[file]):
                wrong.append(f"{path.relative_to(SITE)}: {link}")
    assert seen > 1000
    assert sorted({*wrong}) == []
