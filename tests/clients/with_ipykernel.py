"""ipykernel and jupyter_client: a kernel in `greenzmq run`, and a client in another one."""

from __future__ import annotations

import json
import sys
from functools import partial

from harness import RUN, Failure, processes, write

CLIENT = """
import asyncio
from jupyter_client.manager import start_new_async_kernel
import zmq.asyncio
assert [kind.__module__ for kind in zmq.asyncio.Socket.__mro__][1] == "greenzmq.sockets.awaitable"
async def main():
    manager, client = await start_new_async_kernel(kernel_name="green", startup_timeout=60)
    async def run(code):
        out = []
        def hook(message):
            if message["msg_type"] in ("stream", "execute_result", "error"):
                content = message["content"]
                out.append(content.get("text") or content.get("ename") or content["data"]["text/plain"])
        reply = await client.execute_interactive(code, timeout=60, output_hook=hook)
        return reply["content"]["status"], "".join(out)
    for number in range(50):
        assert await run(f"print({number} * 2)") == ("ok", f"{number * 2}\\n"), number
    assert await run("1 / 0") == ("error", "ZeroDivisionError")
    shown = await run("import zmq; [kind.__module__ for kind in zmq.Socket.__mro__][1]")
    assert shown == ("ok", repr("greenzmq.sockets.socket")), shown
    assert (await run("'x' * 3000000"))[1] == repr("x" * 3000000)
    message = client.execute("import time; time.sleep(60)")
    while (await client.get_iopub_msg(timeout=30))["content"].get("execution_state") != "busy":
        pass
    await asyncio.sleep(0.5)
    await manager.interrupt_kernel()
    while True:
        reply = await client.get_shell_msg(timeout=30)
        if reply["parent_header"]["msg_id"] == message:
            break
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt"), reply
    assert await run("print('alive')") == ("ok", "alive\\n")
    assert await client.is_alive()
    client.stop_channels()
    await manager.shutdown_kernel()
    assert not await manager.is_alive()
    print("right", flush=True)
asyncio.run(main())
"""


def notebook(*options: str) -> str:
    """Cells, errors, much output, an interrupt, and the end.

    The client is the awaitable one: the blocking one polls inside of a coroutine of its own, which greenzmq refuses.
    """
    with processes() as start:
        write(start.folder, client=CLIENT)  # type: ignore[attr-defined]
        spec = start.folder / "kernels" / "green"  # type: ignore[attr-defined]
        spec.mkdir(parents=True)
        argv = [sys.executable, "-W", "ignore", *RUN, *options, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(
            json.dumps({"argv": argv, "display_name": "green", "language": "python", "interrupt_mode": "signal"})
        )
        folder = str(start.folder)  # type: ignore[attr-defined]
        places = dict.fromkeys(("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME"), folder)
        client = start("client", *RUN, "--aio", "client.py", **places)
        if "right" not in (output := client.succeed(120)):
            raise Failure(output)
        return "a kernel and its client: 50 cells, errors, 3 MB of output, an interrupt, the end"


CASES = {"by the rules": partial(notebook)}
