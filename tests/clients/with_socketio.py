"""python-socketio's ZmqManager: two servers, the broker of ``greenzmq proxy``, four clients; on three async modes."""

from __future__ import annotations

import signal
from functools import partial

from harness import RUN, Failure, free_port, processes, write

DISTRIBUTION = "python-socketio"

SERVER = """
import sys, engineio, socketio
engineio.payload.Payload.max_decode_packets = 1000   # as its documentation says, for many messages at once
mode, port, broker = sys.argv[1:]
server = socketio.Server(async_mode=mode, client_manager=socketio.ZmqManager(broker))
@server.event
def shout(sid, text):
    server.emit("heard", text)           # to everybody, on both servers, by way of the broker
@server.event
def kind(sid):
    return type(server.manager.sub).__mro__[1].__module__
app = socketio.WSGIApp(server)
port = int(port)
if mode == "eventlet":
    import eventlet.wsgi
    eventlet.wsgi.server(eventlet.listen(("127.0.0.1", port)), app, log_output=False)
elif mode == "gevent":
    from gevent.pywsgi import WSGIServer
    WSGIServer(("127.0.0.1", port), app, log=None).serve_forever()
else:
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
    class Threaded(ThreadingMixIn, WSGIServer):
        daemon_threads = True
    class Quiet(WSGIRequestHandler):
        def log_message(self, *args): pass
    make_server("127.0.0.1", port, app, Threaded, Quiet).serve_forever()
"""
CLIENT = """
import sys, time, engineio, socketio
from collections import Counter
engineio.payload.Payload.max_decode_packets = 1000
module, *ports = sys.argv[1:]
EACH = 10
heard = []
clients = []
def connect(port):
    client, mine = socketio.Client(), []
    client.on("heard", mine.append)
    for attempt in range(200):
        try:
            client.connect(f"http://127.0.0.1:{port}", transports=["polling"], wait_timeout=20)
            break
        except socketio.exceptions.ConnectionError:
            time.sleep(0.1)
    heard.append(mine)
    clients.append(client)
for port in ports * 2:
    connect(port)
for client in clients[:2]:
    assert client.call("kind", timeout=20) == module, client.call("kind", timeout=20)
end = time.monotonic() + 40
for index, client in enumerate(clients[:2]):       # until what each server says is heard on both
    while not all(f"warm {index}" in mine for mine in heard):
        client.emit("shout", f"warm {index}")
        time.sleep(0.2)
        assert time.monotonic() < end, heard
for number in range(EACH):
    for index, client in enumerate(clients):
        client.emit("shout", f"{index} {number}")
expected = Counter(f"{index} {number}" for index in range(len(clients)) for number in range(EACH))
def right(mine):
    return Counter(text for text in mine if not text.startswith("warm")) == expected
while not all(map(right, heard)):
    assert time.monotonic() < end, [len(mine) for mine in heard]
    time.sleep(0.05)
print("heard", sum(expected.values()), "on", len(clients), flush=True)
for client in clients:
    client.disconnect()
"""


def rooms(mode: str, options: tuple[str, ...], module: str) -> str:
    """Whatever one client says, all hear once, whichever server they are on."""
    with processes() as start:
        write(start.folder, server=SERVER, client=CLIENT)  # type: ignore[attr-defined]
        receives, publishes = free_port(), free_port()
        broker = start(
            *("broker", "-m", "greenzmq", "proxy", f"pull@tcp://127.0.0.1:{receives}"),
            f"pub@tcp://127.0.0.1:{publishes}",
        )
        broker.until_printed("backend pub bind")
        ports = [str(free_port()) for _ in range(2)]
        for port in ports:
            start(
                f"server{port}", *RUN, *options, "server.py", mode, port, f"zmq+tcp://127.0.0.1:{receives}+{publishes}"
            )
        output = start("client", "client.py", module, *ports).succeed(90)
        if "heard 40 on 4" not in output:
            raise Failure(output)
        if (status := broker.stop(signal.SIGTERM)) != 0:
            raise Failure(f"the broker has ended with {status}")
        return "2 servers, the broker, 4 clients: 40 messages, each heard once by all"


CASES = {
    "eventlet": partial(rooms, "eventlet", ("--hub", "eventlet", "--monkey"), "greenzmq.eventlet"),
    "gevent": partial(rooms, "gevent", ("--hub", "gevent", "--monkey"), "greenzmq.gevent"),
    "threading": partial(rooms, "threading", ("--hub", "threading"), "greenzmq.threading"),
}
