"""Who is let in: addresses, and for each domain its passwords and keys.

Each mechanism has a table of domains. The entry ``"*"`` counts for every domain that has none of its own. Whatever
cannot be configured leaves its domain closed: else a key that was to be revoked would go on to open it.
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
        """The rule for the domain: its own, or that of all, or the closed one."""
        return self._rules.get(domain) or self._rules.get(EVERY_DOMAIN) or self._closed


# -- PLAIN -------------------------------------------------------------------------------------------------------------


class Passwords:
    """The users of a domain. The program's own mapping is asked each time, so what changes in it counts at once."""

    def __init__(self, passwords: Mapping[str, str] | None) -> None:
        if passwords is not None and not isinstance(passwords, Mapping):
            raise TypeError(f"passwords are a dict of users' names and passwords, not a {type(passwords).__name__}")
        if isinstance(passwords, dict) and not all(
            isinstance(text, str) for pair in passwords.items() for text in pair
        ):
            raise TypeError("the names and passwords of users have to be str, not bytes or anything else")
        self._passwords = {} if passwords is None else passwords

    def check(self, name: bytes, password: bytes, encoding: str) -> Verdict:
        """Compared as bytes: two names or passwords that are no text are never equal to each other."""
        user = name.decode(encoding, "replace")
        known = self._passwords.get(user)
        # libzmq cuts off a user id at a NUL, which would make it another user's.
        if known is None or user.encode(encoding, "replace") != name or b"\0" in name:
            return refused("Invalid username")
        try:
            right = known.encode(encoding)
        except UnicodeError:  # whose message has a part of the password
            return refused("Invalid password")
        return allowed(name) if compare_digest(right, password) else refused("Invalid password")


# -- CURVE -------------------------------------------------------------------------------------------------------------


class KeyRule:
    """Which keys open a domain. This one: none."""

    #: Whether `accepts` may take its time, and so has to be asked in a greenlet of its own.
    asks = False

    def accepts(self, domain: str, key: bytes) -> Any:
        """What is true lets the client in; `key` is in z85."""
        return False


class AnyKey(KeyRule):
    """``CURVE_ALLOW_ANY``."""

    def accepts(self, domain: str, key: bytes) -> Any:
        """True."""
        return True


class Certificates(KeyRule):
    """The public keys of a folder's ``*.key`` files, as they were when it was read.

    Raises
    ------
    OSError
        The folder, or one of the files, cannot be read.
    ValueError
        A file has no valid public key; the message names it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        with os.scandir(folder) as entries:  # not pyzmq's glob, which takes a "[" in the folder's name for a pattern
            files = [entry.path for entry in entries if entry.name.endswith(".key") and entry.name[0] != "."]
        self._keys = frozenset(map(_public_key, files))

    def accepts(self, domain: str, key: bytes) -> Any:
        """Whether the key is one of them."""
        return key in self._keys


class Callback(KeyRule):
    """The program's own ``callback(domain, key)``."""

    asks = True

    def __init__(self, provider: Any) -> None:
        if not callable(getattr(provider, "callback", None)):
            raise TypeError(f"a credentials_provider has a method callback(domain, key); {provider!r} has none")
        self._provider = provider

    def accepts(self, domain: str, key: bytes) -> Any:
        """What the callback returns. As in pyzmq it is told "*" where the server's socket has no domain."""
        return self._provider.callback(domain or EVERY_DOMAIN, key)


def key_rule(location: str | os.PathLike[str]) -> KeyRule:
    """The rule for what `configure_curve` takes."""
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
    """Those that are allowed, or those that are denied: single ones, and networks such as ``"10.0.0.0/8"``."""

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
        """What is wrong with a client's address, if anything is."""
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
    """The address, if it is one, without what the same client may have or not have.

    To a socket with the option ``IPV6`` an IPv4 client has an address such as ``::ffff:127.0.0.1``. And the address of
    a link may be followed by the name of an interface: ``fe80::1%eth0``.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_in(address: str, networks: list[Any]) -> bool:
    found = _as_ip(address)
    return found is not None and any(found in network for network in networks)
