"""The words that other programs have for a runtime, and a choice that a function makes late."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.cli import MAIN, UNASKED, python
from support.forked import GREENZMQ, run

import greenzmq
from greenzmq.hubs import ENVIRONMENT, WORDS, decide, hub_class, hub_named

#: What each of them takes as its setting, as their documentation lists it.
SETTINGS = {
    "engineio": "threading eventlet gevent gevent_uwsgi asgi aiohttp sanic tornado",
    "celery": "prefork threads solo gevent eventlet",
    "gunicorn": "sync gthread gevent gevent_wsgi gevent_pywsgi eventlet tornado",
    "kombu": "default gevent eventlet",
}
ALL = sorted({word for words in SETTINGS.values() for word in words.split()})


@pytest.mark.parametrize("word", ALL)
def test_each_word_is_a_hub(word, monkeypatch):
    """As an argument, in the environment, for a namespace, and for `use_hub`."""
    kind = hub_class(word)
    assert hub_class(hub_named(word)) is kind
    greenzmq.Context(hub=word).term()
    assert greenzmq.namespace(word) is greenzmq.namespace(kind.name)
    greenzmq.use_hub(word)
    greenzmq.use_hub(kind)  # the same by another name
    greenzmq.use_hub(None)
    monkeypatch.setenv(ENVIRONMENT, word)
    decision = decide()  # and not greenzmq.hub(), which would leave a hub in this thread
    assert (decision.rule, hub_class(decision.name)) == (1, kind)


def test_the_table_has_each_word_once():
    """... and names who uses it; a word that is a hub's own name needs no line."""
    words = [word for word, _, _ in WORDS]
    assert sorted(words) == sorted(set(words))
    for word, hub, who in WORDS:
        assert hub in ("gevent", "asyncio", "selector", "threading")
        for name in who.split(", "):
            assert word in SETTINGS[name].split()
    assert set(ALL) - set(words) == {"gevent", "eventlet", "threading"}


PROGRAM = "import greenzmq; print(greenzmq.main(lambda: (greenzmq.hub().sleep(0), greenzmq.hub().name)[1]))"


@pytest.mark.parametrize(("word", "hub"), [("tornado", "asyncio"), ("uvloop", "asyncio"), ("solo", "selector")])
def test_main_by_a_word_in_the_environment(word, hub):
    """A program that names no hub runs on what the environment says, with a loop if that needs one."""
    if word == "uvloop":
        pytest.importorskip("uvloop")
    environment = {**os.environ, ENVIRONMENT: word}
    done = run(["-c", PROGRAM], environment=environment, timeout=30, imports=GREENZMQ)
    assert (done.stdout, done.stderr) == (f"{hub}\n", "")


def test_info_shows_the_words():
    """Each with its hub."""
    done = python("-c", UNASKED + MAIN, "info")
    for word, hub, who in WORDS:
        assert [line for line in done.stdout.splitlines() if line.split() == [*f"{who}: {word}".split(), hub]], word


def test_a_wrong_word_is_told():
    """A near miss of one of these words is guessed, too."""
    with pytest.raises(greenzmq.UnknownHubError, match="Did you mean 'aiohttp'"):
        greenzmq.Context(hub="aiohtp")


# -- late --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_choice_is_left():
    yield
    greenzmq.use_hub(None)
    greenzmq.use_hub(None, thread=True)


@pytest.mark.parametrize("thread", [False, True])
def test_a_function_decides_late(no_choice_is_left, thread):
    """It is called when a hub is looked for, not before; its answer may change, and None leaves it to the rules."""
    answers = []

    def ask() -> None:
        greenzmq.use_hub(lambda: answers[-1], thread=thread)
        for answer, name in (("selector", "selector"), ("sync", "selector"), (None, "selector"), ("gevent", "gevent")):
            answers.append(answer)
            decision = decide()
            assert (decision.rule, hub_class(decision.name).name) == (6 if answer is None else 1, name)

    with ThreadPoolExecutor(1) as executor:  # a thread that has no hub
        executor.submit(ask).result()


def test_a_function_that_names_no_hub(no_choice_is_left):
    """The error says who has said so; what the function itself raises comes out as it is."""
    greenzmq.use_hub(lambda: "gevnt")
    with pytest.raises(greenzmq.UnknownHubError, match=r"use_hub\(\) at .*test_words.py:\d+ says 'gevnt': no hub"):
        greenzmq.hub()
    greenzmq.use_hub(None)
    greenzmq.use_hub(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        greenzmq.hub()


def test_two_functions_contradict_each_other(no_choice_is_left):
    """One of them would never be asked; the same one may be given again."""

    def choose() -> str:
        return "selector"

    greenzmq.use_hub(choose)
    greenzmq.use_hub(choose)
    for other in (lambda: "selector", "selector"):
        with pytest.raises(greenzmq.HubError, match=r"contradicts use_hub\(.*choose\)"):
            greenzmq.use_hub(other)
