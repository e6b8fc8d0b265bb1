"""`support.forked`: a forked program cannot be told from one that ``python`` has started, but for what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.forked import BARE, GREENZMQ, RUNTIMES, run

if not hasattr(os, "pidfd_open"):
    pytest.skip("no fork server on this system", allow_module_level=True)

SHOW = "import sys; print(sys.argv, sys.orig_argv, sys.path, sys.flags, __name__, [*globals()])"
THREAD = "import threading, time; threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()"
PROGRAMS = {
    "arguments": ["-c", SHOW, "-x", "y"],
    "module": ["-m", "module", "-x"],
    "no module": ["-m", "missing"],
    "file": ["module.py", "-x"],
    "variables": ["-c", "import os; print(sorted(os.environ.items()), os.getcwd())"],
    "exit": ["-c", "import sys; sys.exit('the end')"],
    "killed": ["-c", "import os; os.kill(os.getpid(), 9)"],
    "interrupted": ["-c", "raise KeyboardInterrupt"],
    "its end": ["-c", f"import atexit; atexit.register(print, 'last'); {THREAD}"],
    "streams": ["-c", "import sys; print([each.isatty() for each in (sys.stdin, sys.stdout, sys.stderr)])"],
    "descriptors": ["-c", "import os; print(sorted(os.listdir('/dev/fd'))[:-1])"],
    "signals": ["-c", "import signal; print([str(signal.getsignal(each)) for each in signal.valid_signals()])"],
}


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **changes}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_as_python_runs_it(name: str, tmp_path: Path) -> None:
    """Its status and what it prints are the same. A traceback begins with the server's line, and may lack source."""
    (tmp_path / "module.py").write_text(f"{SHOW}\nprint(__file__, __spec__ and __spec__.name)")
    options = {"timeout": 20, "capture_output": True, "text": True, "cwd": tmp_path}
    given = environment(GREENZMQ_X="1", PYTHONPATH=str(tmp_path / "first"))
    usual = subprocess.run([sys.executable, "-W", "ignore", *PROGRAMS[name]], env=given, **options)
    forked = run(PROGRAMS[name], environment=given, timeout=20, folder=str(tmp_path))
    assert (forked.returncode, forked.stdout) == (usual.returncode, usual.stdout)
    assert forked.stderr.splitlines()[-1:] == usual.stderr.splitlines()[-1:]


@pytest.mark.parametrize("imports", [BARE, RUNTIMES, GREENZMQ], ids=["bare", "runtimes", "greenzmq"])
def test_it_begins_with_nothing_but_imports(imports: tuple[str, ...]) -> None:
    """No thread, no hub, nothing patched; and no runtime where there should be none."""
    program = """
import shutil, socket, sys, threading, zipfile
from support.asking import hubs_alive, runtimes_loaded
print(threading.active_count(), hubs_alive(), bool(runtimes_loaded()), "greenzmq" in sys.modules)
print(socket.socket.__module__, threading.Thread.__module__, zipfile.os.__name__, shutil.os.__name__)
"""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = run(["-c", program], environment=environment(PYTHONPATH=paths), timeout=20, imports=imports)
    found = f"1 [] {imports != BARE} {imports == GREENZMQ}"
    assert (done.stdout.splitlines(), done.stderr) == ([found, "socket threading os os"], "")


def test_one_that_takes_too_long_is_killed() -> None:
    """With what it has printed by then."""
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    for seconds in (0.2, 1, 5, 20):  # until it has printed something by then
        with pytest.raises(subprocess.TimeoutExpired) as told:
            run(["-c", program], environment=environment(), timeout=seconds)
        if told.value.stdout:
            break
    pid = int(told.value.stdout)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)


def test_none_outlives_those_who_asked_for_it() -> None:
    """A run of tests that is killed leaves neither a server nor a child behind."""
    child = "import os, time; print(os.getpid(), os.getppid(), flush=True); time.sleep(60)"
    program = f"""
import json, os, select
from support.forked import BARE, ForkServer
server = ForkServer(BARE, ())
request = {{"arguments": ["-c", {child!r}], "environment": {{**os.environ}}, "folder": "."}}
_, out, _ = server.send(request)
print(os.read(out, 100).decode(), flush=True)
os._exit(0)
"""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = run(["-c", program], environment=environment(PYTHONPATH=paths), timeout=20)
    assert done.stderr == ""
    for pid in done.stdout.split():
        while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            time.sleep(0.01)


@pytest.mark.parametrize("variable", ["PYTHONHASHSEED", "GEVENT_LOOP", "GREENZMQ_PURE"])
def test_variables_that_have_been_read(variable: str) -> None:
    """They get an interpreter that reads them: the server has not seen them."""
    given = environment(**{variable: "0" if os.environ.get(variable) == "1" else "1"})
    done = run(["-c", "import os; print(os.getppid())"], environment=given, timeout=20, imports=GREENZMQ)
    assert int(done.stdout) == os.getpid()
