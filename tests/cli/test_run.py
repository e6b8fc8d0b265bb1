"""``greenzmq run``: a program as ``python`` runs it, but for what it takes out of `zmq`."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.cli import LIMIT
from support.forked import run

import greenzmq
from greenzmq.cli.run import split
from greenzmq.errors import HubError
from greenzmq.patching.inherited import begin

RUN = ("-m", "greenzmq", "run")


@dataclass(frozen=True)
class Program:
    """A program that is run by ``python`` and by ``greenzmq run``.

    ``text`` is the file ``program.py`` in the current folder; `arguments` stand after ``python``, `options` before the
    others, and `interrupted` sends a Ctrl-C when the program has printed a line.
    """

    text: str = ""
    arguments: tuple[str, ...] = ("program.py",)
    options: tuple[str, ...] = ()
    stdin: str = ""
    interrupted: bool = False


LOOPS_UNTIL_INTERRUPTED = "import time\ntry:\n    print('ready', flush=True)\n    time.sleep(60)\n"
PROGRAMS = {
    "arguments": Program("import sys; print(sys.argv)", ("program.py", "-x", "--hub", "y", "--", "-m")),
    "exit status": Program("import sys; sys.exit(3)"),
    "exit with a text": Program("import sys; sys.exit('the end')"),
    "exit without a status": Program("raise SystemExit"),
    "exit at once": Program("import os, sys; print('out', flush=True); os._exit(7)"),
    "traceback": Program(
        "def f():\n    1 / 0\ntry:\n    f()\nexcept ZeroDivisionError as error:\n    raise KeyError from error"
    ),
    "syntax error": Program("x = = 1"),
    "no such file": Program(arguments=("missing.py",)),
    "module": Program(arguments=("-m", "package.module", "-c", "--monkey")),
    "package": Program(arguments=("-m", "package", "x")),
    "no such module": Program(arguments=("-m", "package.missing")),
    "module in one word": Program(arguments=("-mpackage", "x")),
    "code": Program(arguments=("-c", "import sys; print(sys.argv, __name__); 1/0", "-x", "y")),
    "standard input": Program(arguments=("-", "x"), stdin="import sys; print(sys.argv, __name__)"),
    "input": Program("print(input(), input())", stdin="one\ntwo\n"),
    "folder": Program(arguments=("folder", "x")),
    "zip file": Program(arguments=("program.zip", "x")),
    "main": Program("import __main__; print(sorted(vars(__main__)), __file__, __spec__, type(__loader__).__name__)"),
    "pickle": Program(
        "import pickle\nclass Mine: pass\ndata = pickle.dumps(Mine())\nprint(data, type(pickle.loads(data)) is Mine)"
    ),
    "paths": Program("import sys; print(sys.path, sys.flags, sys.prefix, sys.warnoptions, sys.executable)"),
    "options": Program(
        "import sys\nprint(sys.flags, sys._xoptions, __debug__)\nassert False\nimport warnings; warnings.warn('seen')",
        options=("-X", "dev", "-O", "-W", "error", "-u"),
    ),
    "atexit": Program("import atexit, sys; atexit.register(print, 'last'); print('first'); sys.exit(1)"),
    "error in a thread": Program(
        "import threading\ndef f():\n    1/0\n"
        "thread = threading.Thread(target=f, name='T'); thread.start(); thread.join()"
    ),
    "killed": Program("import os, signal; os.kill(os.getpid(), signal.SIGTERM)"),
    "interrupted": Program(f"{LOOPS_UNTIL_INTERRUPTED}finally:\n    print('cleaned up')", interrupted=True),
    "interrupt handled": Program(
        f"{LOOPS_UNTIL_INTERRUPTED}except KeyboardInterrupt:\n    print('handled'); raise SystemExit(5)",
        interrupted=True,
    ),
    "signals": Program("import signal; print([str(signal.getsignal(each)) for each in signal.valid_signals()])"),
    "processes": Program(
        "import multiprocessing\n"
        "class Mine:\n    value = 1\n"
        "def work(mine):\n    return type(mine).__module__, mine.value\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(work, (Mine(),)))"
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the programs run."""
    show = "import sys; print(sys.argv, __name__, __spec__.name, __package__)"
    for name in ("package", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").write_text(show if name == "package" else "import sys; print(sys.argv)")
    (tmp_path / "package" / "module.py").write_text(show)
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.writestr("__main__.py", "import sys; print(sys.argv)")
    return tmp_path


def outcome(folder: Path, program: Program, *ours: str) -> tuple[int, str, str]:
    """The exit status, and what was printed."""
    (folder / "program.py").write_text(program.text)
    command = [sys.executable, *program.options, *ours, *program.arguments]
    with subprocess.Popen(
        command, stdin=-1, stdout=-1, stderr=-1, text=True, cwd=folder, env=environment(), start_new_session=True
    ) as process:
        try:
            if program.interrupted:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                while " S " not in Path(f"/proc/{process.pid}/stat").read_text():  # until it sleeps
                    pass
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(program.stdin, timeout=LIMIT)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, err


def environment(**changed: str) -> dict[str, str]:
    here = {name: value for name, value in os.environ.items() if name not in {"GREENZMQ_HUB", "GREENZMQ_RUN"}}
    package = str(Path(greenzmq.__file__).parents[1])
    return {**here, "PYTHONPATH": os.pathsep.join(filter(None, [package, here.get("PYTHONPATH", "")])), **changed}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_as_python_runs_it(folder: Path, name: str) -> None:
    """Its exit status, what it prints and its errors are the same, to the letter."""
    program = PROGRAMS[name]
    assert outcome(folder, program, *RUN) == outcome(folder, program)


def test_a_hub_changes_nothing_of_that(folder: Path, hub_name: str) -> None:
    """Neither does ``--hub``."""
    for name in ("arguments", "traceback", "interrupted"):
        program = PROGRAMS[name]
        assert outcome(folder, program, "-W", "ignore", *RUN, "--hub", hub_name) == outcome(folder, program)


@pytest.fixture(params=["gevent", "eventlet", "selector", "asyncio"])
def hub_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if request.config.getoption("--skip-missing-hubs", default=False):
        pytest.importorskip(name if name in {"gevent", "eventlet"} else "zmq")
    return name


# -- what is green -----------------------------------------------------------------------------------------------------

#: A program that knows nothing of greenzmq. It prints what it meets: whether its classes are green, and on which hub.
SHOW = """
import sys, zmq
def show(label):
    hub = getattr(zmq.Context, "_greenzmq_default_hub", "none of ours")
    monkey = [name for name in ("gevent", "eventlet") if name in sys.modules and patched(name)]
    print(label, hub, *monkey, flush=True)
def patched(name):
    if name == "gevent":
        import gevent.monkey
        return gevent.monkey.is_module_patched("socket")
    import eventlet.patcher
    return eventlet.patcher.is_monkey_patched("socket")
"""
CHILDREN = f"""{SHOW}
import os, subprocess, multiprocessing
if __name__ == "__main__":
    show("program")
    subprocess.run([sys.executable, "-c", "import program; program.show('subprocess')"], check=True)
    subprocess.run([sys.executable, "-c", "import program; program.show('subprocess in C')"], check=True,
                   env={{**os.environ, "LC_ALL": "C"}})
    for method in METHODS:
        process = multiprocessing.get_context(method).Process(target=show, args=(method,))
        process.start()
        process.join()
        assert process.exitcode == 0, (method, process.exitcode)
"""
SAID = {
    "by the rules": ((), "None"),
    "selector": (("--hub", "selector"), "selector"),
    "gevent": (("--hub", "gevent"), "gevent"),
    "eventlet": (("--hub", "eventlet"), "eventlet"),
    "asyncio": (("--hub", "asyncio"), "asyncio"),
    "gevent and monkey": (("--hub", "gevent", "--monkey"), "gevent gevent"),
    "eventlet and monkey": (("--hub", "eventlet", "--monkey"), "eventlet eventlet"),
}


@pytest.mark.parametrize("said", SAID)
def test_child_processes_inherit_it(folder: Path, said: str, request: pytest.FixtureRequest) -> None:
    """Those of `subprocess`, and of `multiprocessing` by each of its start methods."""
    ours, shown = SAID[said]
    if said.partition(" ")[0] in {"gevent", "eventlet"} and request.config.getoption("--skip-missing-hubs"):
        pytest.importorskip(said.partition(" ")[0])
    methods = ["fork", "spawn", "forkserver"]
    if said == "eventlet and monkey" or (said == "gevent and monkey" and old_gevent()):
        # There is none after eventlet's patch: `socket` lacks what it needs. For gevent see the next test.
        methods.remove("forkserver")
    program = Program(CHILDREN.replace("METHODS", repr(methods)))
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("PYTHONWARNINGS", "ignore")  # eventlet warns of itself in every process
        status, out, err = outcome(folder, program, *RUN, *ours)
    labels = ["program", "subprocess", "subprocess in C", *methods]
    assert (status, out.splitlines(), err) == (0, [f"{label} {shown}" for label in labels], "")


def old_gevent() -> bool:
    """Whether a fork server would hang under this gevent's patch."""
    return tuple(map(int, importlib.metadata.version("gevent").split(".")[:3])) < (25, 8, 1)


def test_a_fork_server_that_would_hang_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """gevent before 25.8.1 does not patch what a fork server waits with: it ends at once, and prints the cure.

    Seen to hang for good, on gevent 24.10.1. Newer ones are made to look as old ones do, in this process.
    """
    cure = "install gevent>=25.8.1, or say multiprocessing.set_start_method('spawn')"
    if request.config.getoption("--skip-missing-hubs"):
        pytest.importorskip("gevent")
    if old_gevent():
        program = Program(CHILDREN.replace("METHODS", "['forkserver']"))
        status, _, err = outcome(folder, program, *RUN, "--hub", "gevent", "--monkey")
        assert status == 1
        assert cure in err
    server = "from multiprocessing.forkserver import main; main(5, 6, [])"
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", server])
    monkeypatch.setitem(sys.modules, "gevent.signal", SimpleNamespace(__implements__=["signal", "getsignal"]))
    told = {"hub": "gevent", "monkey": ["gevent.monkey", "patch_all"], "aio": False}
    with pytest.raises(HubError, match=re.escape(cure)):
        begin(told)


#: Two greenlets of the runtime talk to each other. Without the patch the first wait stops the process for good.
TALK = """
import zmq, {runtime}
context = zmq.Context()
pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
pull.bind("tcp://127.0.0.1:*")
push.connect(pull.last_endpoint.decode())
got = []
receiver = {runtime}.spawn(lambda: got.append(pull.recv()))
{runtime}.sleep(0)
push.send(b"hello")
receiver.{join}()
print(got)
context.destroy(linger=0)
"""


@pytest.mark.parametrize(("runtime", "join"), [("gevent", "join"), ("eventlet", "wait")])
@pytest.mark.parametrize("said", [(), ("--hub",), ("--hub", "--monkey")], ids=["by the rules", "said", "monkey"])
def test_greenlets_of_a_program_wait_on_its_hub(
    folder: Path, runtime: str, join: str, said: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    """A program on gevent or eventlet that says ``import zmq``."""
    if request.config.getoption("--skip-missing-hubs"):
        pytest.importorskip(runtime)
    ours = [part for word in said for part in ((word, runtime) if word == "--hub" else (word,))]
    program = Program(TALK.format(runtime=runtime, join=join))
    assert outcome(folder, program, "-W", "ignore", *RUN, *ours) == (0, "[b'hello']\n", "")


def test_another_sitecustomize_runs_too(folder: Path) -> None:
    """The one that ``python`` would have found, once, as the module `sitecustomize`; its errors are told as ever."""
    (folder / "site").mkdir()
    code = "import sys, zmq; print(__name__, sys.modules[__name__].__file__, zmq.Context.__module__, flush=True)"
    program = Program("import sitecustomize, sys; print(sitecustomize.__file__, sys.path)")
    for error in ("", "\n1 / 0"):
        (folder / "site" / "sitecustomize.py").write_text(code + error)
        path = os.pathsep.join([str(folder / "site"), environment()["PYTHONPATH"]])
        with pytest.MonkeyPatch.context() as changed:
            changed.setenv("PYTHONPATH", path)
            ours, theirs = outcome(folder, program, *RUN), outcome(folder, program)
        first, *lines = ours[1].splitlines()  # the command is a Python program, too, before it becomes the other one
        assert first in theirs[1]
        assert lines == [line.replace("zmq.sugar.context", "zmq") for line in theirs[1].splitlines()]
        told_to_the_command = "".join(theirs[2].splitlines(keepends=True)[:2])
        assert (ours[0], ours[2]) == (theirs[0], told_to_the_command + theirs[2])


def test_a_patch_that_fails_ends_the_program(folder: Path) -> None:
    """It is not run unpatched: that would be a program that freezes. Here a child of another hub that is gone."""
    text = "import os, subprocess, sys\ntold = os.environ['GREENZMQ_RUN']\n"
    text += "os.environ['GREENZMQ_RUN'] = told.replace('selector', 'gone')\n"
    text += "sys.exit(subprocess.run([sys.executable, '-c', 'print(1)']).returncode)"
    status, out, err = outcome(folder, Program(text), *RUN, "--hub", "selector")
    assert (status, out) == (1, "")
    assert "no hub is named 'gone'" in err
    assert err.endswith("the patch of `greenzmq run` has failed, so the program is not started\n")


def test_other_interpreters_are_left_alone(folder: Path) -> None:
    """What says that it is meant for another environment does nothing in this one."""
    text = "import os, subprocess, sys\ntold = os.environ['GREENZMQ_RUN']\n"
    text += "os.environ['GREENZMQ_RUN'] = told.replace(sys.prefix, '/x')\n"
    text += "code = 'import sys, zmq; print(zmq.Context.__module__, \"greenzmq\" in sys.modules)'\n"
    text += "sys.exit(subprocess.run([sys.executable, '-c', code]).returncode)"
    assert outcome(folder, Program(text), *RUN) == (0, "zmq.sugar.context False\n", "")


def test_a_program_that_patches_for_another_hub_is_told(folder: Path) -> None:
    """The error names ``greenzmq run``; what says the same, or nothing, is right."""
    program = Program("import greenzmq; greenzmq.patch('selector'); print('same'); greenzmq.patch('asyncio')")
    status, out, err = outcome(folder, program, *RUN, "--hub", "selector")
    assert (status, out) == (1, "same\n")
    assert "contradicts python -m greenzmq run --hub selector" in err


def test_aio_reaches_zmq_asyncio(folder: Path) -> None:
    """``--aio``, in child processes too; without it they are pyzmq's own."""
    show = "import zmq.asyncio; print(zmq.asyncio.Socket.__mro__[1].__module__, flush=True)"
    program = Program(f"{show}\nimport subprocess, sys; subprocess.run([sys.executable, '-c', {show!r}])")
    assert outcome(folder, program, *RUN, "--aio") == (0, "greenzmq.sockets.awaitable\n" * 2, "")
    assert outcome(folder, program, *RUN) == (0, "zmq.asyncio\n" * 2, "")


def test_the_command_imports_little() -> None:
    """Neither the runtime, which is for the program's own process to import, nor what only other commands need."""
    program = """
import os, sys
heavy = {"eventlet", "importlib.metadata", "greenzmq.cli.demo", "greenzmq.cli.info", "greenzmq.cli.proxy"}
os.execve = lambda *_: sys.exit(f"imported: {sorted(heavy & {*sys.modules})}")
from greenzmq.__main__ import main
main(["run", "--hub", "eventlet", "program.py"])
"""
    done = run(["-c", program], environment=environment(), timeout=LIMIT)
    assert "needs the package eventlet" in done.stderr or done.stderr == "imported: []\n"


# -- wrong usage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "arguments", "fault"),
    [
        ((), (), "run needs a program"),
        ((), ("--hub", "selector"), "run needs a program"),
        ((), ("--hub",), "expected one argument"),
        ((), ("--hub", "selektor", "program.py"), "Did you mean 'selector'?"),
        ((), ("--monkey", "program.py"), "--hub gevent or --hub eventlet"),
        ((), ("--hub", "selector", "--monkey", "program.py"), "--hub gevent or --hub eventlet"),
        ((), ("--nonsense", "program.py"), "unrecognized arguments: --nonsense"),
        ((), ("-X", "dev", "program.py"), "-X is no option of run"),
        (("-E",), ("program.py",), "-I or -E"),
    ],
)
def test_wrong_usage_is_told(folder: Path, options: tuple[str, ...], arguments: tuple[str, ...], fault: str) -> None:
    """By one line that says what is right, and 2; the program does not start."""
    program = Program("print('ran')", arguments, options)
    if "-E" in options and "site-packages" not in greenzmq.__file__:
        pytest.skip("-E ignores the path of this greenzmq, too; run nox -s tests")
    status, out, err = outcome(folder, program, *RUN)
    assert (status, out) == (2, "")
    assert fault in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("given", "ours", "program"),
    [
        ("run a.py --hub x", "run", "a.py --hub x"),
        ("run --hub x --monkey a.py --monkey", "run --hub x --monkey", "a.py --monkey"),
        ("run --hub=x -m a --hub", "run --hub=x", "-m a --hub"),
        ("run -c code -h", "run", "-c code -h"),
        ("run --monkey -- -a", "run --monkey", "-a"),
        ("run - -h", "run", "- -h"),
        ("run -h", "run -h", ""),
        ("demo --hub x", "demo --hub x", ""),
        ("", "", ""),
    ],
)
def test_arguments_are_divided(given: str, ours: str, program: str) -> None:
    """The program's begin with the first that is no option of ours."""
    assert split(given.split()) == (ours.split(), program.split())
