"""The words by which the settings of other programs name a runtime, and the hub for each.

So a framework can pass its own setting on, ``Context(hub=settings.ASYNC_MODE)``, and need not translate it.
``python -m greenzmq info`` shows this table.
"""

from __future__ import annotations

__all__ = ["WORDS", "hub_named"]

#: The word, the hub that it means, and the programs that use it. Words that are names of hubs (gevent, eventlet,
#: threading) are not listed.
WORDS: tuple[tuple[str, str, str], ...] = (
    ("gevent_uwsgi", "gevent", "engineio"),
    ("asgi", "asyncio", "engineio"),
    ("aiohttp", "asyncio", "engineio"),
    ("sanic", "asyncio", "engineio"),
    ("tornado", "asyncio", "engineio, gunicorn"),
    ("threads", "threading", "celery"),
    ("prefork", "selector", "celery"),
    ("solo", "selector", "celery"),
    ("gthread", "threading", "gunicorn"),
    ("gevent_wsgi", "gevent", "gunicorn"),
    ("gevent_pywsgi", "gevent", "gunicorn"),
    ("sync", "selector", "gunicorn"),
    ("default", "selector", "kombu"),
)

_HUBS = {word: hub for word, hub, _ in WORDS}


def hub_named(word: str) -> str:
    """Return the name of the hub that `word` means, or `word` itself if it is none of `WORDS`."""
    return _HUBS.get(word, word)
