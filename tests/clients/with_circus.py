"""circus: a daemon that watches processes, asked and stopped by its own client."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from harness import RUN, Failure, free_port, processes, until

CONFIGURATION = """
[circus]
check_delay = 1
endpoint = tcp://127.0.0.1:{0}
pubsub_endpoint = tcp://127.0.0.1:{1}

[watcher:sleeper]
cmd = {2} -c "import time; time.sleep(600)"
numprocesses = 2
"""


def watch(*options: str) -> str:
    """List, count, add one, restart, and quit."""
    with processes() as start:
        port = free_port()
        configuration = start.folder / "circus.ini"  # type: ignore[attr-defined]
        configuration.write_text(CONFIGURATION.format(port, free_port(), sys.executable))
        daemon = start("circusd", *RUN, *options, "-m", "circus.circusd", str(configuration))

        numbers = iter(range(10_000))

        def ask(*command: str) -> Any:
            endpoint = ("--endpoint", f"tcp://127.0.0.1:{port}", "--json", "--timeout", "20")
            client = start(f"ctl{next(numbers)}", *RUN, *options, "-m", "circus.circusctl", *endpoint, *command)
            answer = json.loads(client.succeed(60))
            if answer.get("status") != "ok" and "statuses" not in answer:
                raise Failure(f"{command}: {answer}\n{daemon.output}")
            return answer

        daemon.until_printed("Arbiter now waiting for commands")
        until(lambda: ask("numprocesses")["numprocesses"] == 2, "both processes run", 60, daemon)
        before = ask("list", "sleeper")["pids"]
        ask("incr", "sleeper", "--waiting")
        answers = [ask("status")["statuses"], len(ask("list", "sleeper")["pids"])]
        if answers != [{"sleeper": "active"}, 3]:
            raise Failure(f"{answers}\n{daemon.output}")
        ask("restart", "sleeper", "--waiting")
        after = ask("list", "sleeper")["pids"]
        if len(after) != 3 or set(before) & set(after):
            raise Failure(f"restarted {before} as {after}\n{daemon.output}")
        ask("quit")
        if (status := daemon.wait(30)) != 0:
            raise Failure(f"it has ended with {status}\n{daemon.output}")
        return "a daemon, its client: listed, counted, added, restarted, stopped"


CASES = {"by the rules": partial(watch)}
