"""docs/reference/messages.md has every message of the package, with its cure, and no other."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from support.messages import Message, messages

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "messages.md"


@functools.cache
def texts() -> dict[str, Message]:
    """The messages by their first line: of several lines only that is on the page.

    Read when a test asks for them: each process of a run imports this module, and few run its tests.
    """
    return {message.text.split("\n")[0]: message for message in messages()}


def on_the_page() -> dict[str, str]:
    """What the page says of each message."""
    entries = re.findall(r"^`(.+)`\n: (.+(?:\n(?!\n).+)*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(entries) == len(dict(entries)), "a message stands there twice"
    return dict(entries)


def test_every_message_is_on_the_page():
    """A message that is new, or has changed, needs a line that says when it comes and what to do.

    Seen to fail with a message of `stats`, which came while the page was written.
    """
    missing = [f"{message.place}: {message.kind}: `{text}`" for text, message in texts().items()]
    assert len(missing) > 100
    known = on_the_page()
    assert [line for line, text in zip(missing, texts(), strict=True) if text not in known] == []


def test_the_page_has_no_others():
    """A message that is gone, or has changed, leaves no entry."""
    assert [text for text in on_the_page() if text not in texts()] == []


def test_every_entry_says_the_class():
    """Each begins with what is raised, warned or logged, and goes on with a sentence."""
    kinds = r"`\w+(?: \w+)?`|a `HubError`|log, (?:error|warning)"
    assert [said for said in on_the_page().values() if not re.match(rf"(?:{kinds})\. [A-Z\"`…\[].*\.$", said)] == []
