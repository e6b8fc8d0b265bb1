"""Rules for who is let in: addresses, and for each domain its passwords and keys.

Each mechanism has a table of domains. The entry ``"*"`` is for every domain that has no entry of its own. If the
configuration of a domain fails, the domain is closed. Otherwise a key that was to be revoked would still open it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Generic, TypeVar

from zmq.auth import CURVE_ALLOW_ANY, load_certificate
from zmq.utils import z85

from .zap import Verdict, allowed, refused

__all__ = ["Addresses", "AnyKey", "Callback", "Certificates", "Domains", "KeyRule", "Passwords", "key_rule"]

EVERY_DOMAIN = "*"

Rule = TypeVar("Rule")


class Domains(Generic[Rule]):
    """The rules of one mechanism, by domain."""

    def __init__(self, closed: Rule) -> None:
        self._closed = closed
        self._rules: dict[str, Rule] = {}

    def configure(self, domain: str, make: Callable[[], Rule]) -> None:
        """Give the domain the rule that `make` returns. If that raises, the domain is closed."""
        if not isinstance(domain, str):
            raise TypeError(
                f"a domain is a str, such as '*' for all domains that have no rules of their own, not {domain!r}"
            )
        self._rules[domain] = self._closed
        self._rules[domain] = make()

    def __getitem__(self, domain: str) -> Rule:
        """Return the rule for the domain: its own, or else that of ``"*"``, or else the one that lets nobody in."""
        return self._rules.get(domain) or self._rules.get(EVERY_DOMAIN) or self._closed


# -- PLAIN -------------------------------------------------------------------------------------------------------------


class Passwords:
    """The users of a domain. Each check reads the program's own mapping, so a change in it takes effect at once."""

    def __init__(self, passwords: Mapping[str, str] | None) -> None:
        if passwords is not None and not isinstance(passwords, Mapping):
            raise TypeError(f"passwords are a dict of users' names and passwords, not a {type(passwords).__name__}")
        if isinstance(passwords, dict) and not all(
            isinstance(text, str) for pair in passwords.items() for text in pair
        ):
            raise TypeError("the names and passwords of users have to be str, not bytes or anything else")
        self._passwords = {} if passwords is None else passwords
        #: Whether `check` may take its time, since a mapping of the program's own class may ask a database.
        self.asks = type(self._passwords) is not dict

    def check(self, name: bytes, password: bytes, encoding: str) -> Verdict:
        """Check a name and a password. They are compared as bytes, so bytes that cannot be decoded are never equal."""
        user = name.decode(encoding, "replace")
        known = self._passwords.get(user)
        # libzmq cuts off a user id at a NUL, and what is left could be the id of another user.
        if known is None or user.encode(encoding, "replace") != name or b"\0" in name:
            return refused("Invalid username")
        try:
            right = known.encode(encoding)
        except UnicodeError:  # not raised further, since its message contains a part of the password
            return refused("Invalid password")
        return allowed(name) if compare_digest(right, password) else refused("Invalid password")


# -- CURVE -------------------------------------------------------------------------------------------------------------


class KeyRule:
    """A rule for the keys that open a domain. No key opens it by this one."""

    #: Whether `accepts` may wait, and so has to be called in a greenlet of its own.
    asks = False

    def accepts(self, domain: str, key: bytes) -> Any:
        """Return a true value to let in the client with this key, which is in z85."""
        return False


class AnyKey(KeyRule):
    """The rule ``CURVE_ALLOW_ANY``: every key opens the domain."""

    def accepts(self, domain: str, key: bytes) -> Any:
        """See `KeyRule.accepts`."""
        return True


class Certificates(KeyRule):
    """The rule that the public keys in the ``*.key`` files of a folder open the domain. The files are read once, here.

    Raises
    ------
    OSError
        The folder, or one of the files, cannot be read.
    ValueError
        A file has no valid public key; the message names it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        with os.scandir(
            os.fsdecode(folder)
        ) as entries:  # not `glob`, for which a "[" in the folder's name begins a pattern
            files = [entry.path for entry in entries if entry.name.endswith(".key") and entry.name[0] != "."]
        self._keys = frozenset(map(_public_key, files))

    def accepts(self, domain: str, key: bytes) -> Any:
        """See `KeyRule.accepts`."""
        return key in self._keys


class Callback(KeyRule):
    """The rule that the program's own ``callback(domain, key)`` decides."""

    asks = True

    def __init__(self, provider: Any) -> None:
        if not callable(getattr(provider, "callback", None)):
            raise TypeError(f"a credentials_provider has a method callback(domain, key); {provider!r} has none")
        self._provider = provider

    def accepts(self, domain: str, key: bytes) -> Any:
        """Return what the callback returns. As in pyzmq, its domain is "*" if the server's socket has none."""
        return self._provider.callback(domain or EVERY_DOMAIN, key)


def key_rule(location: str | os.PathLike[str]) -> KeyRule:
    """Return the rule for the `location` of `Authenticator.configure_curve`."""
    return AnyKey() if location == CURVE_ALLOW_ANY else Certificates(location)


def _public_key(file: str) -> bytes:
    key, _ = load_certificate(file)
    try:
        size = len(z85.decode(key))
    except (KeyError, ValueError):
        size = 0
    if size != 32:
        raise ValueError(f"{file} has no valid public key, which is 40 characters of z85")
    return key


# -- addresses ---------------------------------------------------------------------------------------------------------


class Addresses:
    """The addresses that are allowed, or those that are denied. Each may be a network such as ``"10.0.0.0/8"``."""

    def __init__(self) -> None:
        self._allowed: list[Any] = []
        self._denied: list[Any] = []

    def allow(self, addresses: tuple[str, ...]) -> None:
        """See `Authenticator.allow`."""
        if self._denied:
            raise ValueError("some addresses are denied; use allow() or deny(), not both")
        self._allowed += [_network(address) for address in addresses]

    def deny(self, addresses: tuple[str, ...]) -> None:
        """See `Authenticator.deny`."""
        if self._allowed:
            raise ValueError("some addresses are allowed; use allow() or deny(), not both")
        self._denied += [_network(address) for address in addresses]

    def fault(self, address: str) -> str | None:
        """Return why a client with this address is kept out, or None if it is not."""
        if self._allowed:
            return None if _is_in(address, self._allowed) else "Address not allowed"
        return "Address denied" if _is_in(address, self._denied) else None


def _network(address: str) -> Any:
    if not isinstance(address, str):
        raise TypeError(f"an IP address is a str, such as '127.0.0.1', not {address!r}")
    try:
        network = ip_network(str(_as_ip(address) or address))
    except ValueError as error:
        raise ValueError(
            f"{error}: no client could ever match {address!r}; give IP addresses such as '127.0.0.1', and "
            "networks such as '10.0.0.0/8'"
        ) from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return network if mapped is None or network.prefixlen < 96 else ip_network((mapped, network.prefixlen - 96))


def _as_ip(address: str) -> IPv4Address | IPv6Address | None:
    """Return the address in its simplest form, or None if it is no IP address.

    The same client may have several forms. On a socket with the option ``IPV6``, an IPv4 client has an address such as
    ``::ffff:127.0.0.1``. And the name of an interface may follow a link-local address: ``fe80::1%eth0``.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_in(address: str, networks: list[Any]) -> bool:
    found = _as_ip(address)
    return found is not None and any(found in network for network in networks)
