"""``python -m greenzmq proxy``: a broker that passes messages on between two sockets, as fast as libzmq itself."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket as stdlib_socket
import struct
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import zmq

import greenzmq
import greenzmq.selector

from . import arguments
from .console import can_draw, complain, say
from .endpoints import Side, capture_side, side, wrong_pair

__all__ = ["add_parser", "run"]

#: Seconds between two lines of statistics on a terminal.
PERIOD = 1.0
#: libzmq's errors for a wrong address. Any other error of bind or connect is a problem of the system.
_WRONG = (zmq.EINVAL, zmq.EPROTONOSUPPORT, zmq.ENOCOMPATPROTO, errno.ENODEV)

EXAMPLES = """\
endpoints:
  TYPE@ENDPOINT binds, TYPE+ENDPOINT connects (so does TYPE>ENDPOINT, if it is quoted for the shell). More endpoints
  follow after commas: router@tcp://*:5555,@ipc:///run/broker  dealer+tcp://one:5556,tcp://two:5556

types, each pair in either order:
  router and dealer (requests), xsub and xpub (publications), pull and push (jobs), pull and pub (publishes what many
  send, as python-socketio's ZmqManager needs it)

exit status:
  0 after SIGINT or SIGTERM: the proxy first sends what it has received, until --linger is over; a second signal ends
  it at once. 1 if an endpoint cannot be used, for example because its port is in use. 2 for wrong usage, such as a
  wrong address.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command to an `argparse` parser's sub-commands."""
    parser = commands.add_parser(
        "proxy",
        help="a broker between two sockets, at libzmq's own speed",
        description="Pass messages on between two sockets, both ways, until a signal comes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("frontend", metavar="FRONTEND", type=side, help="such as router@tcp://*:5555, xsub@tcp://*:5555")
    add("backend", metavar="BACKEND", type=side, help="such as dealer@tcp://*:5556, xpub@tcp://*:5556")
    add("--capture", metavar="SOCKET", type=capture_side, help="send a copy of each message to it: pub@tcp://*:5557")
    add("--hwm", metavar="N", type=_mark, help="high-water mark of each socket, in messages; 0 means none (1000)")
    for name in ("frontend", "backend", "capture"):
        add(f"--{name}-hwm", metavar="N", type=_mark, help=f"high-water mark of the {name}")
    add("--linger", metavar="MS", type=_mark, default=1000, help="milliseconds to send what is left at the end (1000)")
    add("--curve", metavar="FILE", help="our certificate, with its secret key; all sockets then use CURVE")
    add("--curve-server", metavar="FILE", help="with --curve: the public certificate of the servers that we connect to")
    add("--curve-clients", metavar="FOLDER", help="with --curve: the certificates of the clients that may connect")
    add("--stats", metavar="SECONDS", type=arguments.seconds, help="print a line of statistics every so many seconds")
    add("--ready-file", metavar="FILE", help="a file to write the endpoints to when all is ready; removed at the end")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the proxy to its end.

    Returns
    -------
    int
        The exit status.
    """
    fault = wrong_pair(options.frontend, options.backend) or _curve_fault(options)
    if fault:
        complain(fault)
        return 2
    try:
        greenzmq.main(_Broker(options).run, hub="selector", signals=[signal.SIGINT, signal.SIGTERM])
    except _BrokerError as error:
        complain(str(error))
        return error.status
    return 0


def _mark(text: str) -> int:
    """Read a number: 0 or more."""
    return 0 if text == "0" else arguments.whole_number(text)


def _curve_fault(options: argparse.Namespace) -> str:
    sides = [each for each in (options.frontend, options.backend, options.capture) if each is not None]
    if options.curve is None:
        return "--curve-server and --curve-clients go with --curve" if _other_curve(options) else ""
    if any(len(each.ways) > 1 for each in sides):
        return "with CURVE a socket either binds or connects: libzmq has one role for each"
    if options.curve_server is None and any("connect" in each.ways for each in sides):
        return "to connect with CURVE needs --curve-server, the public certificate of the other side"
    return ""


def _other_curve(options: argparse.Namespace) -> bool:
    return options.curve_server is not None or options.curve_clients is not None


class _BrokerError(Exception):
    """Ends the command with a message and an exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class _Broker:
    """The running proxy."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._sides = {
            name: getattr(options, name)
            for name in ("frontend", "backend", "capture")
            if getattr(options, name) is not None
        }
        self._endpoints: list[str] = []

    def run(self) -> None:
        """Open everything, pass messages on until a signal comes, and close it."""
        context = greenzmq.selector.Context()
        try:
            authenticator = self._authenticator(context)
            sockets = {name: self._open(context, name, each) for name, each in self._sides.items()}
            control, asking = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            control.bind("inproc://control")
            asking.connect("inproc://control")
            self._tell_ready()
            if self._options.stats or can_draw(sys.stderr):
                greenzmq.selector.hub().spawn(_Statistics(asking, self._options.stats).run, name="statistics")
            try:
                greenzmq.selector.proxy_steerable(
                    sockets["frontend"], sockets["backend"], sockets.get("capture"), control, native=True
                )
            except (KeyboardInterrupt, SystemExit):
                self._end_at_once_next_time()
            del authenticator
        finally:
            self._tell_end()
            context.destroy(self._options.linger)

    # -- sockets ------------------------------------------------------------------------------------------------------

    def _open(self, context: Any, name: str, each: Side) -> Any:
        options = self._options
        socket = context.socket(each.socket_type)
        mark = getattr(options, f"{name}_hwm")
        mark = options.hwm if mark is None else mark
        if mark is not None:
            socket.set_hwm(mark)
        if options.curve is not None:
            self._secure(socket, each)
        for way, endpoint in each.endpoints:
            try:
                getattr(socket, way)(endpoint)
            except zmq.ZMQError as error:
                status, reason = 2 if error.errno in _WRONG else 1, zmq.strerror(error.errno or 0)
                raise _BrokerError(f"cannot {way} the {name} to {endpoint}: {reason}", status) from None
            actual = socket.last_endpoint.decode("utf8").rstrip("\0")
            self._endpoints.append(f"{name} {each.kind} {way} {actual}")
        return socket

    def _secure(self, socket: Any, each: Side) -> None:
        options = self._options
        socket.curve_publickey, socket.curve_secretkey = _certificate(options.curve, secret=True)
        if "bind" in each.ways:
            socket.curve_server = True
            socket.zap_domain = b"global"
        else:
            socket.curve_serverkey, _ = _certificate(options.curve_server)

    def _authenticator(self, context: Any) -> Any:
        folder = self._options.curve_clients
        if folder is None:
            return None
        if not Path(folder).is_dir():
            raise _BrokerError(f"--curve-clients: {folder} is no folder", 2)
        from ..auth import Authenticator

        authenticator = Authenticator(context)
        authenticator.start()
        authenticator.configure_curve(domain="*", location=folder)
        return authenticator

    # -- beginning and end --------------------------------------------------------------------------------------------

    def _tell_ready(self) -> None:
        for line in self._endpoints:
            say(line)
        path = self._options.ready_file
        if path is not None:
            try:
                # By a rename, so that a program that waits for the file finds it complete.
                Path(f"{path}.new").write_text("".join(f"{line}\n" for line in self._endpoints), encoding="utf8")
                Path(f"{path}.new").replace(path)
            except OSError as error:
                raise _BrokerError(f"cannot write {path}: {error.strerror}") from None
        _notify_service_manager("READY=1")

    def _tell_end(self) -> None:
        if self._options.ready_file is not None:
            Path(self._options.ready_file).unlink(missing_ok=True)
        _notify_service_manager("STOPPING=1")

    def _end_at_once_next_time(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os._exit(128 + number))


def _certificate(path: str, *, secret: bool = False) -> tuple[bytes, bytes]:
    """Return the public and the secret key in a file that pyzmq's `zmq.auth.create_certificates` has written."""
    from zmq.auth import load_certificate

    try:
        public, private = load_certificate(path)
    except (OSError, ValueError) as error:
        raise _BrokerError(f"{path} has no CURVE certificate: {error}", 2) from None
    if secret and private is None:
        raise _BrokerError(f"{path} has no secret key; zmq.auth.create_certificates writes it to *.key_secret", 2)
    return public, private or b""


def _notify_service_manager(state: str) -> None:
    """Tell systemd of a change, as ``sd_notify`` does, if systemd has started this process and waits for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or not hasattr(stdlib_socket, "AF_UNIX"):
        return
    try:
        with stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_DGRAM) as told:
            told.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError as error:
        complain(f"cannot tell the service manager ({address}): {error.strerror}")


class _Statistics:
    """Prints a line for each period: how much has passed since the last line, and in total."""

    def __init__(self, asking: Any, seconds: float | None) -> None:
        self._asking = asking
        self._seconds = seconds or PERIOD
        self._overwrites = seconds is None
        self._before: tuple[int, ...] = (0,) * 8
        self._when = monotonic()

    def run(self) -> None:
        hub = greenzmq.selector.hub()
        while True:
            hub.sleep(self._seconds)
            self._asking.send(b"STATISTICS")
            numbers = tuple(struct.unpack("=Q", frame)[0] for frame in self._asking.recv_multipart())
            self._print(self._line(numbers))

    def _line(self, numbers: tuple[int, ...]) -> str:
        now = monotonic()
        passed = max(now - self._when, 1e-9)
        new = [now_ - before for now_, before in zip(numbers, self._before, strict=True)]
        self._before, self._when = numbers, now
        # The answer has frames and octets, in turn, for: frontend received, frontend sent, backend received, sent.
        there, back = new[0] / passed, new[4] / passed
        octets = (new[1] + new[5]) / passed / 1e6
        return (
            f"frontend to backend {there:,.0f} frames/s, back {back:,.0f} frames/s, {octets:,.2f} MB/s; "
            f"in all {numbers[0]:,} and {numbers[4]:,} frames"
        )

    def _print(self, line: str) -> None:
        if self._overwrites:
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
        else:
            say(line)
