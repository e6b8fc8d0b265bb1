"""A service that encrypts what it says, and knows whom it says it to: CURVE, and keys in files.

    python examples/secure_service.py keys           # once: keys for the server and a client, yours to read only
    python examples/secure_service.py server [hub]   # gevent, eventlet, selector, asyncio or uvloop
    python examples/secure_service.py client [hub]

A client is let in if its public key is in ``clients/``. To revoke it, remove the file, and have the server read the
folder again: by another `configure_curve`. ``python -m zmq.curve_keygen`` makes keys, too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import greenzmq as zmq
from greenzmq.auth import Authenticator, create_certificates, load_certificate

FOLDER = Path(os.environ.get("KEYS", "keys"))
ADDRESS = os.environ.get("ADDRESS", "tcp://127.0.0.1:5555")


def make_keys() -> None:
    """Keys in new folders: where there are some already, this is an error, and they stay."""
    os.umask(0o077)  # or anybody on this machine could read the secret ones
    FOLDER.mkdir()
    (FOLDER / "clients").mkdir()
    create_certificates(FOLDER, "server")
    create_certificates(FOLDER, "client")
    (FOLDER / "client.key").rename(FOLDER / "clients" / "client.key")


# -- the service: 25 lines ---------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer whoever was let in, by name."""
    with zmq.Context(pyobj=False) as context, Authenticator(context) as auth, context.socket(zmq.REP) as server:
        auth.configure_curve(location=FOLDER / "clients")
        _, server.curve_secretkey = load_certificate(FOLDER / "server.key_secret")
        server.curve_server = True
        server.bind(ADDRESS)
        print("serving on", server.last_endpoint.decode(), flush=True)
        while True:
            question = server.recv(copy=False)
            server.send_string(f"{question.bytes.decode(errors='replace').upper()}, {question.get('User-Id')[:5]}…")


def ask(text: str) -> None:
    """Ask the service, for five seconds."""
    with zmq.Context(pyobj=False) as context, context.socket(zmq.REQ) as client:
        client.curve_publickey, client.curve_secretkey = load_certificate(FOLDER / "client.key_secret")
        client.curve_serverkey, _ = load_certificate(FOLDER / "server.key")
        client.linger, client.rcvtimeo = 0, 5000
        client.connect(ADDRESS)
        client.send_string(text)
        print(client.recv_string())


if __name__ == "__main__":
    role, *hub = sys.argv[1:] or ["help"]
    if role == "keys":
        make_keys()
    elif role == "server":
        zmq.main(serve, hub=hub[0] if hub else None)
    elif role == "client":
        zmq.main(ask, "hello", hub=hub[0] if hub else None)
    else:
        sys.exit(__doc__)
