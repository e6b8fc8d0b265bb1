"""What an authenticator has to do, line by line: the protocol, and whom it lets in; see ``auth_lines.py``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.auth import KEY, Z85, Provider, better, frames, line
from zmq.utils import z85

# -- the protocol ------------------------------------------------------------------------------------------------------


@better
def a_slow_callback_holds_up_nobody(lab: Any) -> None:
    auth = lab.authenticator(callback_timeout=60.0)
    auth.configure_plain(passwords={"user": "word"})
    answered: list[bool] = []
    auth.configure_curve_callback(
        credentials_provider=Provider(lambda domain, key: lab.until(lambda: answered) or True)
    )
    slow = lab.send(frames(b"CURVE", KEY))
    assert lab.lets_in(b"PLAIN", b"user", b"word")
    assert lab.answer(slow, 0) is None, "the slow one was answered first"
    answered.append(True)
    assert lab.answer(slow, 5)[3] == b"200"


@line
def an_answer_has_all_its_frames(lab: Any) -> None:
    lab.authenticator()
    answered = [b"", b"1.0", b"number", b"200", b"OK", b"anonymous", b""]
    assert lab.answer(lab.send(frames(b"NULL", number=b"number"))) == answered
    refused = lab.answer(lab.send(frames(b"PLAIN", b"user", b"word", number=b"2")))
    assert refused[:4] == [b"", b"1.0", b"2", b"400"]
    assert refused[5:] == [b"", b""]


@line
def a_long_envelope_comes_back(lab: Any) -> None:
    """As after a device, where the REP of pyzmq's keeps it, too."""
    lab.authenticator()
    found = lab.answer(lab.send([b"one", b"two", *frames(b"NULL")]))
    assert found[:5] == [b"one", b"two", b"", b"1.0", b"1"]
    assert found[5] == b"200"


#: Requests that nobody can be answered to.
UNANSWERABLE = ([b""], [b"x"], [b"", b"1.0"], [b"x", b"y", b"z"], [b"", b""], [b"\xff" * 1000])
#: Requests that are answered with 400.
MALFORMED = {
    "too short": [b"", b"1.0", b"1"],
    "shorter by one": frames(b"NULL")[:-1],
    "wrong version": [b"", b"2.0", *frames(b"NULL")[2:]],
    "no version": [b"", b"", *frames(b"NULL")[2:]],
    "no mechanism": frames(b""),
    "unknown mechanism": frames(b"KERBEROS"),
    "mechanism no text": frames(b"\xff\xfe"),
    "mechanism in small letters": frames(b"null"),
    "NULL with credentials": frames(b"NULL", b"word"),
    "PLAIN without": frames(b"PLAIN"),
    "PLAIN with one": frames(b"PLAIN", b"user"),
    "PLAIN with three": frames(b"PLAIN", b"user", b"word", b"more"),
    "CURVE without": frames(b"CURVE"),
    "CURVE with two": frames(b"CURVE", KEY, KEY),
    "CURVE of 31": frames(b"CURVE", KEY[:31]),
    "CURVE of 0": frames(b"CURVE", b""),
    "CURVE of 28": frames(b"CURVE", KEY[:28]),
    "GSSAPI without": frames(b"GSSAPI"),
    "GSSAPI with two": frames(b"GSSAPI", b"one", b"two"),
}


@better
def no_request_ends_the_handler(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_curve(location="*")
    for request in UNANSWERABLE:
        dealer = lab.send(request)
        assert lab.lets_in(b"NULL"), f"not after {request}"
        assert lab.answer(dealer, 0) is None
    for name, request in MALFORMED.items():
        dealer = lab.send(request)
        found = lab.answer(dealer)
        assert found is not None, f"no answer: {name}"
        assert (found[1:4], found[5:]) == ([b"1.0", b"1", b"400"], [b"", b""]), name
        assert lab.answer(dealer, 0) is None, f"two answers: {name}"
        assert lab.lets_in(b"NULL"), f"not after {name}"


@better
def a_request_of_one_frame_does_not_end_it(lab: Any) -> None:
    lab.authenticator()
    lab.send([b"", b"1.0"])
    assert lab.lets_in(b"NULL")


@better
def a_key_of_another_length_does_not_end_it(lab: Any) -> None:
    lab.authenticator().configure_curve_callback(credentials_provider=Provider(lambda domain, key: True))
    lab.send(frames(b"CURVE", KEY[:31]))
    assert lab.lets_in(b"NULL")


@better
def a_principal_that_is_no_text_does_not_end_it(lab: Any) -> None:
    lab.authenticator()
    assert lab.ask(b"GSSAPI", b"\xff\xfe") == (b"200", "\ufffd\ufffd".encode())
    assert lab.lets_in(b"NULL")


@line
def garbage_is_taken_for_text(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_plain(passwords={"user": "word", "\ufffd": "\ufffd"})
    assert lab.lets_in(b"NULL", domain=b"\xff", address=b"\xff\xfe")
    assert not lab.lets_in(b"PLAIN", b"user", b"\xff", domain=b"\xff")


@better
def garbage_is_nobodys_name_or_password(lab: Any) -> None:
    lab.authenticator().configure_plain(passwords={"\ufffd": "word", "user": "\ufffd"})
    assert not lab.lets_in(b"PLAIN", b"\xff", b"word")
    assert not lab.lets_in(b"PLAIN", b"user", b"\xff")
    assert lab.lets_in(b"PLAIN", "\ufffd".encode(), b"word")


@better
def an_error_of_its_own_is_500(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_curve(location="*")
    auth.curve_user_id = lambda key: 1 / 0
    assert lab.ask(b"CURVE", KEY) == (b"500", b"")
    assert "ZeroDivisionError" in lab.logged()
    assert lab.lets_in(b"NULL")


# -- policies ----------------------------------------------------------------------------------------------------------


@line
def allow_and_deny_exclude_each_other(lab: Any) -> None:
    for first, second in (("allow", "deny"), ("deny", "allow")):
        auth = lab.authenticator(start=False)
        getattr(auth, first)("127.0.0.1")
        with pytest.raises(ValueError, match="allow"):
            getattr(auth, second)("127.0.0.2")


@line
def an_allowed_address_still_shows_its_password(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_plain(passwords={"user": "word"})
    auth.allow("127.0.0.1")
    assert lab.lets_in(b"NULL")
    assert not lab.lets_in(b"PLAIN", b"user", b"wrong")
    assert not lab.lets_in(b"CURVE", KEY)
    assert lab.lets_in(b"PLAIN", b"user", b"word")
    assert not lab.lets_in(b"PLAIN", b"user", b"word", address=b"127.0.0.2")


@line
def a_denied_address_is_out(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_plain(passwords={"user": "word"})
    auth.configure_curve(location="*")
    assert lab.lets_in(b"NULL")
    auth.deny("127.0.0.1")
    for credentials in ((b"NULL",), (b"PLAIN", b"user", b"word"), (b"CURVE", KEY)):
        assert not lab.lets_in(*credentials)
        assert lab.lets_in(*credentials, address=b"127.0.0.2")


@line
def addresses_count_while_it_runs(lab: Any) -> None:
    auth = lab.authenticator()
    assert lab.lets_in(b"NULL")
    auth.allow("127.0.0.2")
    assert not lab.lets_in(b"NULL")
    auth.allow("127.0.0.1", "::1")
    assert lab.lets_in(b"NULL")
    assert lab.lets_in(b"NULL", address=b"::1")


@line
def an_ipc_peer_is_not_among_the_allowed(lab: Any) -> None:
    auth = lab.authenticator()
    auth.allow("127.0.0.1")
    for address in (b"", b":1000:1000:4711", b"localhost"):
        assert not lab.lets_in(b"NULL", address=address)


@better
def one_address_has_many_spellings(lab: Any) -> None:
    """To a socket with IPV6 every IPv4 client is ``::ffff:…``: with pyzmq's a denied one is let in."""
    auth = lab.authenticator()
    auth.deny("127.0.0.1", "fe80::1", "10.0.0.0/8", "::ffff:192.168.0.0/112")
    for address in (
        b"::ffff:127.0.0.1",
        b"fe80::1%eth0",
        b"FE80:0::1",
        b"10.1.2.3",
        b"::ffff:10.1.2.3",
        b"192.168.7.7",
    ):
        assert not lab.lets_in(b"NULL", address=address), address
    for address in (b"127.0.0.2", b"fe80::2", b"11.0.0.1", b"192.169.0.1", b"::ffff:11.0.0.1"):
        assert lab.lets_in(b"NULL", address=address), address


@better
def what_is_no_address_is_an_error(lab: Any) -> None:
    """No client has such an address, so to deny it would do nothing."""
    auth = lab.authenticator()
    for wrong, error in (("localhost", ValueError), ("10.0.0.1/8", ValueError), ("", ValueError), (b"::1", TypeError)):
        for method in (auth.deny, auth.allow):
            with pytest.raises(error):
                method("127.0.0.1", wrong)
    assert lab.lets_in(b"NULL"), "a call that failed has denied, or allowed, some"


@line
def at_first_only_null_is_let_in(lab: Any) -> None:
    lab.authenticator()
    assert lab.ask(b"NULL") == (b"200", b"anonymous")
    assert lab.ask(b"PLAIN", b"user", b"word") == (b"400", b"")
    assert lab.ask(b"CURVE", KEY) == (b"400", b"")


@line
def a_password_lets_in(lab: Any) -> None:
    lab.authenticator().configure_plain(passwords={"user": "word", "ünï": "pæss"})
    assert lab.ask(b"PLAIN", b"user", b"word") == (b"200", b"user")
    assert lab.ask(b"PLAIN", "ünï".encode(), "pæss".encode()) == (b"200", "ünï".encode())
    for user, password in ((b"user", b""), (b"user", b"wor"), (b"user", b"words"), (b"", b"word"), (b"other", b"word")):
        assert lab.ask(b"PLAIN", user, password) == (b"400", b"")


@better
def an_empty_dict_takes_all_passwords_back(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_plain(passwords={"user": "word"})
    auth.configure_plain(passwords={})
    assert not lab.lets_in(b"PLAIN", b"user", b"word")


@line
def passwords_may_change_while_it_runs(lab: Any) -> None:
    auth, passwords = lab.authenticator(), {"user": "word"}
    auth.configure_plain(passwords=passwords)
    passwords["user"] = "other"
    assert not lab.lets_in(b"PLAIN", b"user", b"word")
    assert lab.lets_in(b"PLAIN", b"user", b"other")


@line
def keys_of_a_folder_let_in(lab: Any) -> None:
    folder, (one, two) = lab.keys("one", "two")
    lab.authenticator().configure_curve(location=folder)
    assert lab.ask(b"CURVE", one) == (b"200", z85.encode(one))
    assert lab.lets_in(b"CURVE", two)
    assert not lab.lets_in(b"CURVE", KEY)


@line
def a_second_call_revokes(lab: Any) -> None:
    folder, (one, two) = lab.keys("one", "two")
    auth = lab.authenticator()
    auth.configure_curve(location=folder)
    (folder / "one.key").unlink()
    assert lab.lets_in(b"CURVE", one)
    auth.configure_curve(location=folder)
    assert not lab.lets_in(b"CURVE", one)
    assert lab.lets_in(b"CURVE", two)


def broken_folders(lab: Any) -> list[tuple[Path, type[Exception]]]:
    """What cannot be read, with the error."""
    missing = lab.folder / "missing"
    (no_key, _), (bad_key, _), (file, _) = lab.keys("one"), lab.keys("one"), lab.keys("one")
    (no_key / "broken.key").write_text("nothing in it")
    (bad_key / "broken.key").write_text(f'public-key = "{"~" * 40}"')
    (short := lab.keys("one")[0] / "short.key").write_text('public-key = "0123456789"')
    (folder := lab.keys("one")[0] / "folder.key").mkdir()
    return [
        (missing, OSError),
        (file / "one.key", OSError),
        (no_key, ValueError),
        (bad_key, ValueError),
        (short.parent, ValueError),
        (folder.parent, OSError),
    ]


@better
def a_broken_folder_is_an_error_and_opens_nothing(lab: Any) -> None:
    folder, (one,) = lab.keys("one")
    auth = lab.authenticator()
    auth.configure_curve(location="*")
    for broken, error in broken_folders(lab):
        auth.configure_curve("domain", folder)
        assert lab.lets_in(b"CURVE", one, domain=b"domain")
        with pytest.raises(error):
            auth.configure_curve("domain", broken)
        assert not lab.lets_in(b"CURVE", one, domain=b"domain"), "it goes on with the old certificates"
        assert not lab.lets_in(b"CURVE", KEY, domain=b"domain"), "it goes on with those of all domains"


@line
def paths_of_any_kind_are_taken(lab: Any) -> None:
    folder, (one,) = lab.keys("one")
    for location in (folder, str(folder), f"{folder}/", os.fsencode(folder)):
        auth = lab.authenticator(start=False)
        auth.configure_curve("domain", location)
        auth.start()
        assert lab.lets_in(b"CURVE", one, domain=b"domain")
        auth.stop()


@better
def a_folder_may_have_any_name(lab: Any) -> None:
    """pyzmq takes the name for a pattern, and finds no key in ``keys[1]``."""
    folder, (one,) = lab.keys("one")
    renamed = folder.rename(folder.with_name("keys[1]"))
    lab.authenticator().configure_curve(location=renamed)
    assert lab.lets_in(b"CURVE", one)


@line
def a_callback_decides(lab: Any) -> None:
    asked = []

    def callback(domain: str, key: bytes) -> bool:
        asked.append((domain, key))
        return key == Z85

    auth = lab.authenticator()
    auth.configure_curve_callback("domain", Provider(callback))
    assert lab.ask(b"CURVE", KEY, domain=b"domain") == (b"200", Z85)
    assert lab.ask(b"CURVE", KEY[::-1], domain=b"domain") == (b"400", b"")
    assert asked == [("domain", Z85), ("domain", z85.encode(KEY[::-1]))]


@line
def what_is_not_true_is_no(lab: Any) -> None:
    answers: list[Any] = [False, None, 0, "", [], 0.0]
    lab.authenticator().configure_curve_callback(credentials_provider=Provider(lambda domain, key: answers.pop()))
    while answers:
        assert not lab.lets_in(b"CURVE", KEY)


@better
def a_generator_is_no_yes(lab: Any) -> None:
    def with_yield(domain: str, key: bytes) -> Any:
        yield False

    lab.authenticator().configure_curve_callback(credentials_provider=Provider(with_yield))
    assert not lab.lets_in(b"CURVE", KEY)
    assert "yield" in lab.logged()


@better
def a_provider_without_callback_is_an_error(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_curve("domain", "*")
    for wrong in (None, object(), Provider("callback")):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="callback"):
            auth.configure_curve_callback("domain", wrong)
    assert not lab.lets_in(b"CURVE", KEY, domain=b"domain"), "the domain is open as before"


@better
def a_star_covers_every_domain(lab: Any) -> None:
    folder, (one,) = lab.keys("one")
    auth = lab.authenticator()
    auth.configure_plain(passwords={"user": "word"})
    auth.configure_curve(location=folder)
    for domain in (b"", b"domain", b"\xff"):
        assert lab.lets_in(b"PLAIN", b"user", b"word", domain=domain)
        assert lab.lets_in(b"CURVE", one, domain=domain)
    auth.configure_plain("own", {"user": "other"})
    assert not lab.lets_in(b"PLAIN", b"user", b"word", domain=b"own")
    assert lab.lets_in(b"PLAIN", b"user", b"other", domain=b"own")
    assert lab.lets_in(b"CURVE", one, domain=b"own")
    auth.configure_plain("own", {})
    assert not lab.lets_in(b"PLAIN", b"user", b"word", domain=b"own")
    auth.configure_curve_callback(credentials_provider=Provider(lambda domain, key: domain == "domain"))
    assert lab.lets_in(b"CURVE", KEY, domain=b"domain")
    assert not lab.lets_in(b"CURVE", KEY, domain=b"other")


@better
def any_key_of_one_domain_opens_no_other(lab: Any) -> None:
    folder, _ = lab.keys("one")
    auth = lab.authenticator()
    auth.configure_curve("private", folder)
    auth.configure_curve("public", "*")
    assert lab.lets_in(b"CURVE", KEY, domain=b"public")
    assert not lab.lets_in(b"CURVE", KEY, domain=b"private")
    assert not lab.lets_in(b"CURVE", KEY)


@better
def to_configure_a_domain_leaves_the_others_open(lab: Any) -> None:
    folder, _ = lab.keys("one")
    auth = lab.authenticator()
    auth.configure_curve("public", "*")
    auth.configure_curve("private", folder)
    assert lab.lets_in(b"CURVE", KEY, domain=b"public")


@better
def a_callback_leaves_the_certificates_of_others(lab: Any) -> None:
    folder, (one,) = lab.keys("one")
    auth = lab.authenticator()
    auth.configure_curve("files", folder)
    auth.configure_curve_callback("asked", Provider(lambda domain, key: True))
    assert lab.lets_in(b"CURVE", one, domain=b"files")
    assert not lab.lets_in(b"CURVE", KEY, domain=b"files")
    assert lab.lets_in(b"CURVE", KEY, domain=b"asked")


@line
def the_user_id_of_a_key_may_be_another(lab: Any) -> None:
    auth = lab.authenticator()
    auth.configure_curve(location="*")
    auth.curve_user_id = lambda key: f"user {key[0]} ünï"
    assert lab.ask(b"CURVE", KEY) == (b"200", "user 0 ünï".encode())


@better
def a_user_id_is_not_cut_off(lab: Any) -> None:
    """libzmq hands the server a C string: with pyzmq's ``admin\\0…`` would become ``admin``."""
    auth = lab.authenticator()
    auth.configure_curve(location="*")
    auth.curve_user_id = lambda key: "admin\0and more"
    assert lab.ask(b"CURVE", KEY) == (b"500", b"")
    auth.configure_plain(passwords={"admin\0x": "word"})
    assert lab.ask(b"PLAIN", b"admin\0x", b"word") == (b"400", b"")


@better
def no_password_is_in_the_log(lab: Any) -> None:
    lab.authenticator().configure_plain(passwords={"user": "secret-right", "latin": "secret-\ud800"})
    for user, password in ((b"user", b"secret-right"), (b"user", b"secret-wrong"), (b"latin", b"secret-x")):
        assert lab.ask(b"PLAIN", user, password) is not None
    for request in (
        frames(b"PLAIN", b"user", b"secret-1", b"secret-2"),
        [b"", b"1", *frames(b"PLAIN", b"u", b"secret")[2:]],
    ):
        assert lab.answer(lab.send(request)) is not None
    assert lab.log_records
    assert "secret" not in lab.logged()
