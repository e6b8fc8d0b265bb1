"""Every situation in which a hub is chosen, each as a program, with the right answers to the question which hub.

A program calls ``ask()`` in the situation, once for each answer; see `support.asking`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support import forked
from support.children import Child

__all__ = ["CHILDREN", "RIGHT", "Error", "Hub"]


@dataclass(frozen=True)
class Hub:
    """The right answer is this hub, by this rule. `said` is how the program has named it, if not by its name."""

    name: str
    rule: int
    said: str = ""


@dataclass(frozen=True)
class Error:
    """The right answer is this error. `says` are parts of its message.

    ``greenzmq.hubs.decide`` raises it, too, unless `decides` is the hub that it returns.
    """

    kind: str
    says: tuple[str, ...]
    decides: Hub | None = None


CHILDREN: dict[str, Child] = {}
RIGHT: dict[str, tuple[Hub | Error, ...]] = {}

BEGIN = "from support.asking import ask, hide, report\n"
END = "\nreport()\n"


def situation(
    name: str, program: str, *right: Hub | Error, needs: tuple[str, ...] | None = None, **environment: Any
) -> None:
    """Add a situation to the table. `environment` are environment variables of its program."""
    if needs is None:
        needs = tuple(runtime for runtime in ("gevent", "eventlet") if f"import {runtime}" in program)
    program = program.strip()
    first = program.partition("\n")[0].partition(";")[0]
    # Forked where it makes no difference: eventlet is imported already where a program begins with its import.
    imported = forked.EVENTLET if first.startswith("import ") and "eventlet" in first else forked.BARE
    CHILDREN[name] = Child(BEGIN + program + END, tuple(environment.items()), needs, imported=imported)
    RIGHT[name] = right


SELECTOR = Hub("selector", 6)
CURE = ("greenzmq.Context(hub=...)", "greenzmq.use_hub(...)", "$GREENZMQ_HUB")
ALIVE = Error("AmbiguousHubError", ("gevent and eventlet both have a hub in this thread", *CURE))
PATCHED = Error("AmbiguousHubError", ("gevent and eventlet both have patched this process", *CURE))
RUNNING_LOOP = Error("BlockingCallError", ("an asyncio loop is running", "await greenzmq.asyncio.run("))


IN_COROUTINE = "await greenzmq.asyncio.run(function, *args)"


def stops(speaker: str, said: str, why: str, *cure: str) -> Error:
    """The error if the program has named another hub than the one that runs."""
    return Error(
        "WrongHubError", (f"{speaker} says {said}, but {why}, which this wait would stop", *cure), Hub(said, 1)
    )


def in_callback(name: str) -> Error:
    return Error("BlockingCallError", ("in the hub's own greenlet", "greenzmq.hub().spawn("), Hub(name, 2))


# -- rules 2 and 4 to 6: one runtime -----------------------------------------------------------------------------------

# Ask in a native thread, even if `threading` is patched.
NATIVE = """
from greenzmq.process import unpatched
done = unpatched.allocate_lock()
done.acquire()
def in_thread():
    try:
        ask()
    finally:
        done.release()
unpatched.start_new_thread(in_thread, ())
done.acquire()
"""
# How a program does the same things on each runtime.
WORDS: dict[str, dict[str, str]] = {
    "gevent": {
        "patch": "import gevent.monkey; gevent.monkey.patch_all()\n",
        "hub": "import gevent; gevent.get_hub()\n",
        "task": "import gevent; gevent.spawn(ask).get()\n",
        "sleep": "import gevent; gevent.sleep(0)\n",
        "callback": "import gevent; gevent.get_hub().loop.run_callback(ask); gevent.sleep(0)\n",
        "pool": "import gevent; gevent.get_hub().threadpool.apply(ask)\n",
    },
    "eventlet": {
        "patch": "import eventlet; eventlet.monkey_patch()\n",
        "hub": "import eventlet.hubs; eventlet.hubs.get_hub()\n",
        "task": "import eventlet; eventlet.spawn(ask).wait()\n",
        "sleep": "import eventlet; eventlet.sleep(0)\n",
        "callback": "import eventlet.hubs; eventlet.hubs.get_hub().schedule_call_global(0, ask); eventlet.sleep(0)\n",
        "pool": "import eventlet, eventlet.tpool; eventlet.tpool.execute(ask); eventlet.tpool.killall()\n",
    },
}

situation("plain", "ask()", SELECTOR)
situation("plain, again", "ask(); ask()", SELECTOR, Hub("selector", 6))
situation("plain, another thread", "import threading; t = threading.Thread(target=ask); t.start(); t.join()", SELECTOR)
situation("task of the selector loop", "import greenzmq.selector as zmq; zmq.hub().run(ask)", Hub("selector", 2))
situation(
    "callback of the selector loop",
    "import greenzmq.selector as zmq; zmq.hub().hub.call_soon(ask); zmq.hub().sleep()",
    in_callback("selector"),
)

for name, words in WORDS.items():
    unpatched_variants = {"": dict[str, str]()}
    if name == "eventlet":
        unpatched_variants[", asyncio hub"] = {"EVENTLET_HUB": "asyncio"}
    for variant, environment in unpatched_variants.items():
        runtime = name + variant
        situation(f"{runtime}, imported", f"import {name}; ask()", SELECTOR, **environment)
        situation(f"{runtime}, hub exists", words["hub"] + "ask()", Hub(name, 4), **environment)
        situation(f"{runtime}, hub has run", words["sleep"] + "ask()", Hub(name, 4), **environment)
        situation(f"{runtime}, greenlet", words["task"], Hub(name, 2), **environment)
        situation(f"{runtime}, callback", words["callback"], in_callback(name), **environment)
        situation(f"{runtime}, thread beside", words["sleep"] + NATIVE, SELECTOR, **environment)
    rule = 5 if name == "gevent" else 4  # eventlet.monkey_patch() makes a hub in its thread
    situation(f"{name}, patched", words["patch"] + "ask()", Hub(name, rule))
    situation(f"{name}, patched late", f"import greenzmq\n{words['patch']}ask()", Hub(name, rule))
    situation(f"{name}, patched, greenlet", words["patch"] + words["task"], Hub(name, 2))
    situation(f"{name}, patched, callback", words["patch"] + words["callback"], in_callback(name))
    situation(
        f"{name}, patched, threading",
        words["patch"] + "import threading; t = threading.Thread(target=ask); t.start(); t.join()",
        Hub(name, 2),
    )
    situation(f"{name}, patched, native thread", words["patch"] + NATIVE, SELECTOR)
    situation(f"{name}, pool of threads", words["pool"], SELECTOR)
    situation(f"{name}, patched, pool of threads", words["patch"] + words["pool"], SELECTOR)

EVENTLET_ELSEWHERE = """
import eventlet, threading
thread = threading.Thread(target=eventlet.monkey_patch, kwargs={"socket": True})
thread.start()
thread.join()
"""
situation("eventlet, patched by another thread", EVENTLET_ELSEWHERE + "ask()", Hub("eventlet", 5))

# -- two runtimes ------------------------------------------------------------------------------------------------------

BOTH = "import gevent, eventlet, eventlet.hubs\ngevent.get_hub(); eventlet.hubs.get_hub()\n"
GEVENT_SOCKET = "import gevent.monkey; gevent.monkey.patch_socket()\n"
EVENTLET_SOCKET = "import eventlet; eventlet.monkey_patch(socket=True)\n"

situation("both, imported", "import gevent, eventlet\nask()", SELECTOR)
situation("both, alive", BOTH + "ask()", ALIVE)
situation("both, alive, gevent patched", GEVENT_SOCKET + BOTH + "ask()", Hub("gevent", 4))
situation("both, alive, eventlet patched", EVENTLET_SOCKET + BOTH + "ask()", Hub("eventlet", 4))
situation("both, alive, both patched", GEVENT_SOCKET + EVENTLET_SOCKET + BOTH + "ask()", ALIVE)
situation("both, patched", EVENTLET_ELSEWHERE + GEVENT_SOCKET + "ask()", PATCHED)
situation(
    "both, alive, in a greenlet of each",
    BOTH + WORDS["gevent"]["task"] + WORDS["eventlet"]["task"],
    Hub("gevent", 2),
    Hub("eventlet", 2),
)
situation(
    "both, alive, the other one patched",
    EVENTLET_SOCKET + BOTH + WORDS["gevent"]["task"],
    Hub("gevent", 2),
)
situation("both, alive, said which", BOTH + "ask(hub='eventlet')", Hub("eventlet", 1))
situation(
    "both, one in each thread", "import eventlet\n" + WORDS["eventlet"]["hub"] + WORDS["gevent"]["pool"], SELECTOR
)

HALF = """
import sys, types
for name in {!r}:
    sys.modules[name] = types.ModuleType(name)
"""
PROBED = ("gevent._hub_local", "gevent.monkey", "eventlet.hubs", "eventlet.patcher", "asyncio.events")
for name in PROBED:  # as while another thread is importing the runtime
    situation(f"half imported, {name}", HALF.format([name]) + "ask()", SELECTOR, needs=())
situation("half imported, all", HALF.format(PROBED) + "ask()", SELECTOR, needs=())

# -- rule 3 ------------------------------------------------------------------------------------------------------------

COROUTINE = "import asyncio\nasync def main():\n    {}\nasyncio.run(main())"
situation("asyncio, imported", "import asyncio; ask()", SELECTOR)
situation("asyncio, running", COROUTINE.format("ask()"), RUNNING_LOOP)
situation("asyncio, bare greenlet", COROUTINE.format("import greenlet; greenlet.greenlet(ask).switch()"), RUNNING_LOOP)
situation("asyncio, in a thread of it", COROUTINE.format("await asyncio.to_thread(ask)"), SELECTOR)
situation("asyncio, after it", COROUTINE.format("pass") + "\nask()", SELECTOR)
situation(
    "asyncio, said",
    COROUTINE.format("ask(hub='selector')"),
    stops("Context(hub='selector')", "selector", "an asyncio loop is running in this thread", IN_COROUTINE),
)
situation("asyncio, gevent alive", WORDS["gevent"]["hub"] + COROUTINE.format("ask()"), RUNNING_LOOP)

BRIDGE = COROUTINE.format("import greenzmq.asyncio; await greenzmq.asyncio.run(ask)")
situation("asyncio, over the bridge", BRIDGE, Hub("asyncio", 2))
situation("asyncio, over the bridge, gevent alive", WORDS["gevent"]["hub"] + BRIDGE, Hub("asyncio", 2))

# -- rule 1 ------------------------------------------------------------------------------------------------------------

USE = "import greenzmq\ngreenzmq.use_hub({})\nask({})"
ELSEWHERE = "\nimport threading; t = threading.Thread(target=ask); t.start(); t.join()"
EVENTLET, GEVENT = Hub("eventlet", 1), Hub("gevent", 1)
BOTH_NEEDED = ("gevent", "eventlet")
DOTTED = "greenzmq.hubs.selector:SelectorHub"

situation("environment", "ask()", GEVENT, GREENZMQ_HUB="gevent", needs=("gevent",))
situation("environment, empty", "ask()", SELECTOR, GREENZMQ_HUB="")
situation("environment, alias", "ask()", Hub("threading", 1, "threads"), GREENZMQ_HUB="threads")
situation("environment, path", "ask()", Hub("selector", 1, DOTTED), GREENZMQ_HUB=DOTTED)
situation("use_hub", USE.format("'eventlet'", ""), EVENTLET, GREENZMQ_HUB="gevent", needs=BOTH_NEEDED)
situation(
    "use_hub for the thread",
    "import greenzmq\ngreenzmq.use_hub('eventlet')\n" + USE.format("'selector', thread=True", "") + ELSEWHERE,
    Hub("selector", 1),
    EVENTLET,
    GREENZMQ_HUB="gevent",
    needs=BOTH_NEEDED,
)
situation(
    "use_hub, taken back",
    "import greenzmq\ngreenzmq.use_hub('gevent', thread=True)\ngreenzmq.use_hub('eventlet')\nask()\n"
    "greenzmq.use_hub(None, thread=True)\nask()\ngreenzmq.use_hub(None)\nask()",
    GEVENT,
    EVENTLET,
    Hub("selector", 1),
    GREENZMQ_HUB="selector",
    needs=BOTH_NEEDED,
)
situation(
    "use_hub, a class",
    "from greenzmq.hubs.selector import SelectorHub as Mine\n" + USE.format("Mine", ""),
    Hub("selector", 1),
)
situation(
    "context above all",
    "import greenzmq\ngreenzmq.use_hub('eventlet')\n"
    "greenzmq.use_hub('selector', thread=True)\nask(hub='gevent')\nask()",
    GEVENT,
    Hub("selector", 1),
    GREENZMQ_HUB="eventlet",
    needs=BOTH_NEEDED,
)
for name in ("gevent", "eventlet", "selector"):
    other = "selector" if name != "selector" else "gevent"
    needs = tuple({name, other} - {"selector"})
    situation(
        f"namespace {name}",
        f"import greenzmq\ngreenzmq.use_hub({other!r}, thread=True)\nask('greenzmq.{name}')",
        Hub(name, 1),
        needs=needs,
    )
situation(
    "context above its namespace", "ask('greenzmq.gevent', hub='selector')", Hub("selector", 1), needs=("gevent",)
)
situation(
    "shadow keeps the hub",
    "import greenzmq\nask(shadow=greenzmq.Context(hub='gevent'))",
    GEVENT,
    needs=("gevent",),
)

# -- a hub that the program has named, beside another that runs --------------------------------------------------------

RUNS = {name: f"this greenlet runs on {name}'s hub" for name in ("gevent", "eventlet", "selector")}
SELECTOR_TASK = "import greenzmq.selector; greenzmq.selector.hub().run(ask)"
for name, words in WORDS.items():
    told = stops("$GREENZMQ_HUB", "selector", RUNS[name], f"Change that to '{name}', or remove it")
    for where in ("task", "callback", "patch"):
        program = words["patch"] + words["task"] if where == "patch" else words[where]
        situation(f"against {name}, {where}", program, told, GREENZMQ_HUB="selector")
    situation(f"against {name}, the same said", words["task"], Hub(name, 1), GREENZMQ_HUB=name)
    path = f"greenzmq.hubs.{name}:{name.title()}Hub"
    situation(f"against {name}, the same path said", words["task"], Hub(name, 1, path), GREENZMQ_HUB=path)
    situation(
        f"against the selector loop, {name}",
        SELECTOR_TASK,
        stops("$GREENZMQ_HUB", name, RUNS["selector"], "Change that to 'selector', or remove it"),
        needs=(name,),
        GREENZMQ_HUB=name,
    )
    situation(f"no hub runs, {name}", words["sleep"] + "ask()", Hub("selector", 1), GREENZMQ_HUB="selector")
    # gevent's and eventlet's programs wait in their main greenlet, too
    waiting = f"import {name}\nother = {name}.spawn({name}.sleep, 30)\n"
    told = stops("$GREENZMQ_HUB", "selector", f"others wait on {name}'s hub in this thread")
    situation(f"others wait on {name}, not begun", waiting + "ask()", told, GREENZMQ_HUB="selector")
    situation(f"others wait on {name}", waiting + words["sleep"] + "ask()", told, GREENZMQ_HUB="selector")
    situation(f"others wait on {name}, the same said", waiting + "ask()", Hub(name, 1), GREENZMQ_HUB=name)
    situation(
        f"others wait on {name}, in a thread",
        waiting + words["sleep"] + NATIVE,
        Hub("selector", 1),
        GREENZMQ_HUB="selector",
    )
    situation(
        f"others have waited on {name}",
        waiting + words["sleep"] + "other.kill()\n" + words["sleep"] + "ask()",
        Hub("selector", 1),
        GREENZMQ_HUB="selector",
    )
# The end of a forked child. It does not return: the interpreter would wait for the thread of faulthandler, which does
# not exist in the child.
LAST = "ask()\nreport()\nimport sys\nsys.stdout.flush()\nos._exit(0)"
for name, words in WORDS.items():
    forking = f"import {name}, greenzmq, os\n{name}.spawn({name}.sleep, 30)\n{words['sleep']}"
    forking += "if os.fork():\n    os._exit(os.wait()[1])\n"
    situation(f"others wait on {name}, in the parent", forking + LAST, Hub("selector", 1), GREENZMQ_HUB="selector")
for name, variable, loop in (("gevent", "GEVENT_LOOP", "libuv-cffi"), ("eventlet", "EVENTLET_HUB", "asyncio")):
    waiting = f"import {name}\nother = {name}.spawn({name}.sleep, 30)\n" + WORDS[name]["sleep"]
    on_loop = {"GREENZMQ_HUB": "selector", variable: loop}
    told = stops("$GREENZMQ_HUB", "selector", f"others wait on {name}'s hub in this thread")
    situation(f"others wait on {name}, {loop}", waiting + "ask()", told, **on_loop)
    ended = "other.kill()\n" + WORDS[name]["sleep"]
    situation(f"others have waited on {name}, {loop}", waiting + ended + "ask()", Hub("selector", 1), **on_loop)
situation(
    "others wait for a descriptor on eventlet",
    "import eventlet, eventlet.hubs, os\nreading, writing = os.pipe()\n"
    "eventlet.spawn(eventlet.hubs.trampoline, reading, read=True)\neventlet.sleep(0)\nask()",
    stops("$GREENZMQ_HUB", "selector", "others wait on eventlet's hub in this thread"),
    GREENZMQ_HUB="selector",
)
situation(
    "others wait for a descriptor on gevent",
    "import gevent, gevent.os, os\nreading, writing = os.pipe()\ngevent.os.make_nonblocking(reading)\n"
    "gevent.spawn(gevent.os.nb_read, reading, 1)\ngevent.sleep(0)\nask()",
    stops("$GREENZMQ_HUB", "selector", "others wait on gevent's hub in this thread"),
    GREENZMQ_HUB="selector",
)
situation(
    "others wait on the selector loop",
    "import greenzmq.selector as zmq\nzmq.hub().spawn(zmq.hub().sleep, 30)\nzmq.hub().sleep()\nask()",
    stops("$GREENZMQ_HUB", "gevent", "others wait on selector's hub in this thread"),
    needs=("gevent",),
    GREENZMQ_HUB="gevent",
)
situation(
    "asyncio, environment",
    COROUTINE.format("ask()"),
    stops("$GREENZMQ_HUB", "selector", "an asyncio loop is running in this thread", IN_COROUTINE),
    GREENZMQ_HUB="selector",
)
situation(
    "asyncio, over the bridge, environment",
    BRIDGE,
    stops("$GREENZMQ_HUB", "selector", "this greenlet runs on asyncio's hub", "Change that to 'asyncio', or remove it"),
    GREENZMQ_HUB="selector",
)
situation("asyncio, over the bridge, the same said", BRIDGE, Hub("asyncio", 1), GREENZMQ_HUB="asyncio")
situation(
    "asyncio, no loop",
    "ask()",
    Error("HubError", ("$GREENZMQ_HUB says 'asyncio': no asyncio loop is running",), Hub("asyncio", 1)),
    GREENZMQ_HUB="asyncio",
)
for name in ("gevent", "eventlet"):
    situation(
        f"against {name}, the namespace",
        WORDS[name]["task"].replace("ask", "lambda: ask('greenzmq.selector')"),
        stops("the namespace greenzmq.selector", "selector", RUNS[name], f"Use greenzmq.{name} or greenzmq itself"),
    )
    situation(
        f"against {name}, use_hub",
        "import greenzmq; greenzmq.use_hub('selector')\n" + WORDS[name]["task"],
        stops("use_hub() at <string>:3", "selector", RUNS[name]),
    )
    situation(
        f"against {name}, use_hub for the thread",
        "import greenzmq; greenzmq.use_hub('selector', thread=True)\n" + WORDS[name]["task"],
        stops("use_hub(..., thread=True) at <string>:3", "selector", RUNS[name]),
    )

# -- what cannot be found ----------------------------------------------------------------------------------------------

INSTALLED = "Installed here: gevent, eventlet, selector"
ENTRY_POINTS = ("'package.module:Class'", "entry-point group greenzmq.hubs")


def unknown(name: str, *says: str, wait: bool = False) -> Error:
    return Error("UnknownHubError", (repr(name), *says), Hub(name, 1) if wait else None)


situation("wrong name", "ask(hub='twisted')", unknown("twisted", INSTALLED, *ENTRY_POINTS), needs=BOTH_NEEDED)
situation("wrong name, use_hub", USE.format("'selector'", "hub='Gevent'"), unknown("Gevent", "no hub is named"))
situation(
    "wrong name, environment",
    "ask()",
    unknown("twisted", INSTALLED, wait=True),
    GREENZMQ_HUB="twisted",
    needs=BOTH_NEEDED,
)
situation("wrong module", "ask(hub='no.such:Hub')", unknown("no.such:Hub", "No module named 'no'", "Installed here:"))
situation("wrong class", "ask(hub='greenzmq.hubs:Nothing')", unknown("greenzmq.hubs:Nothing", "no attribute 'Nothing'"))
situation("no hub", "ask(hub='os:getcwd')", unknown("os:getcwd", "is not a hub", "subclass of Hub"))
situation("no hub either", "ask(hub=42)", Error("UnknownHubError", ("42 is not a hub", "subclass of Hub")))

for name, other in (("gevent", "eventlet"), ("eventlet", "gevent")):
    line = f"python -m pip install {name}."
    gone = (
        f"hub '{name}' needs the package {name}, which is not installed",
        line,
        f"Installed here: {other}, selector",
    )
    without = f"hide({name!r}, '{name}x')\n"
    situation(f"without {name}", without + "ask()", SELECTOR, needs=())
    situation(
        f"without {name}, context", without + f"ask(hub={name!r})", Error("MissingHubError", gone), needs=(other,)
    )
    situation(
        f"without {name}, namespace",
        without + f"ask('greenzmq.{name}')",
        Error("MissingHubError", gone),
        needs=(other,),
    )
    situation(
        f"without {name}, environment",
        without + "ask()",
        Error("MissingHubError", gone, Hub(name, 1)),
        GREENZMQ_HUB=name,
        needs=(other,),
    )
situation(
    "without both",
    "hide('gevent', 'eventlet')\nask(hub='twisted')",
    unknown("twisted", "Installed here: selector"),
    needs=(),
)

# -- the entry-point group ---------------------------------------------------------------------------------------------

FOREIGN = """
import sys, tempfile, pathlib
folder = tempfile.TemporaryDirectory()
(info := pathlib.Path(folder.name, "foreign_hubs-1.0.dist-info")).mkdir()
(info / "METADATA").write_text("Metadata-Version: 2.1\\nName: foreign-hubs\\nVersion: 1.0\\n")
(info / "entry_points.txt").write_text('''[greenzmq.hubs]
foreign = foreign_hubs:ForeignHub
gevent = foreign_hubs:ForeignHub
number = foreign_hubs:NUMBER
nothing = foreign_hubs:Nothing
nowhere = foreign_nowhere:Hub
''')
pathlib.Path(folder.name, "foreign_hubs.py").write_text('''
from greenzmq.hubs.selector import SelectorHub
class ForeignHub(SelectorHub):
    name = "foreign"
NUMBER = 42
''')
sys.path.append(folder.name)
"""
FOREIGN_INSTALLED = "foreign, number, nothing, nowhere."
situation("entry point", FOREIGN + "ask(hub='foreign')", Hub("foreign", 1))
situation("entry point, environment", FOREIGN + "ask()", Hub("foreign", 1), GREENZMQ_HUB="foreign")
situation("entry point, use_hub", FOREIGN + USE.format("'foreign'", ""), Hub("foreign", 1))
situation("entry point, built-in name", FOREIGN + "ask(hub='gevent')", GEVENT, needs=("gevent",))
situation("entry point, listed", FOREIGN + "ask(hub='twisted')", unknown("twisted", FOREIGN_INSTALLED))
situation("entry point, no hub", FOREIGN + "ask(hub='number')", unknown("number", "is not a hub"))
situation("entry point, wrong class", FOREIGN + "ask(hub='nothing')", unknown("nothing", "no attribute 'Nothing'"))
situation(
    "entry point, wrong module", FOREIGN + "ask(hub='nowhere')", unknown("nowhere", "No module named 'foreign_nowhere'")
)
