"""Keys, a context, and a client that the server of the page has to let in."""
# ruff: noqa: F821, RUF059  # names of the block, and for it

import os

import greenzmq as zmq
from greenzmq.auth import create_certificates, load_certificate


def program():
    os.makedirs("keys/clients", exist_ok=True)
    create_certificates("keys", "server")
    create_certificates("keys/clients", "client")
    _, secret = load_certificate("keys/server.key_secret")
    context = zmq.Context()
    # here
    with context.socket(zmq.REQ) as client:
        client.curve_publickey, client.curve_secretkey = load_certificate("keys/clients/client.key_secret")
        client.curve_serverkey, _ = load_certificate("keys/server.key")
        client.connect(server.last_endpoint.decode())
        client.send(b"let me in")
        assert server.recv() == b"let me in"
    server.close()
    auth.stop()
    context.term()


zmq.main(program)
