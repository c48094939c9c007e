"""Who may ask: tokens of a file, passwords with bcrypt, and what is remembered of them."""

from __future__ import annotations

import base64
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import wait_for

from otel_prom_bridge.endpoint.guards import credentials
from otel_prom_bridge.endpoint.guards.credentials import (
    CACHE_SIZE,
    MAX_WAITING,
    MAX_WAITING_EACH,
    Authentication,
    BearerTokens,
    BusyError,
    Passwords,
    Verdict,
    bearer_token,
    checked_users,
    user_and_password,
)
from otel_prom_bridge.endpoint.server.log import log_without_waiting
from otel_prom_bridge.errors import ConfigurationError

Later = Callable[[Any], Any]

SECRET = "correct horse battery staple"
HASH = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()
TOKEN, OTHER = "first-token-0123456789", "second-token-0123456789"


def basic(user: str, password: str) -> str:
    """The header of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Hasher:
    """Counts the hashes that are made, and can hold them up."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.running = self.most = 0

    def checkpw(self, password: bytes, hashed: bytes) -> bool:
        """As in bcrypt."""
        self.running += 1
        self.most = max(self.most, self.running)
        self.calls.append(hashed)
        self.go_on.wait(10)
        time.sleep(0.001)
        self.running -= 1
        return bcrypt.checkpw(password, hashed)


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Hasher:
    """In the place of bcrypt."""
    hasher = Hasher()
    monkeypatch.setattr(credentials, "load_bcrypt", lambda: hasher)
    return hasher


@pytest.fixture
def passwords(hasher: Hasher) -> Passwords:
    """Two users."""
    return Passwords(lambda: {"alice": HASH, "bob": bcrypt.hashpw(b"bob", bcrypt.gensalt(4)).decode()})


def test_right_and_wrong_passwords(passwords: Passwords) -> None:
    """The user's own password is right, every other is wrong, as is that of another user."""
    assert passwords.verify(b"alice", SECRET.encode())
    assert not passwords.verify(b"alice", SECRET.encode() + b"!")
    assert not passwords.verify(b"alice", b"")
    assert not passwords.verify(b"alice", b"bob")
    assert not passwords.verify(b"bob", SECRET.encode())
    assert not passwords.verify(b"Alice", SECRET.encode())
    assert not passwords.verify(b"\xff", SECRET.encode())


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
def test_kinds_of_hashes(prefix: str) -> None:
    """The hashes of htpasswd and of other tools are verified."""
    users = checked_users("users", {"alice": HASH.replace("$2b$", f"${prefix}$")})
    assert Passwords(lambda: users).verify(b"alice", SECRET.encode())


def test_results_are_remembered(passwords: Passwords, hasher: Hasher) -> None:
    """One hash for a right password, one for a wrong one, one for a user who does not exist."""
    for user, password in ((b"alice", SECRET.encode()), (b"alice", b"wrong"), (b"eve", b"guess")):
        assert passwords.known(user, password) is None
        results = {passwords.verify(user, password) for _ in range(5)}
        assert results == {passwords.known(user, password)}
    assert len(hasher.calls) == 3


def test_cache_keys_are_not_confused(passwords: Passwords) -> None:
    """CVE-2022-46146: no other way to divide what was right before into parts is right."""
    assert passwords.verify(b"alice", SECRET.encode())
    joined = b"alice" + HASH.encode() + SECRET.encode()
    for cut in range(len(joined)):
        assert not passwords.known(joined[:cut], joined[cut:])
    assert not passwords.known(b"alice" + HASH.encode(), SECRET.encode())
    for separator in (b":", b"\0"):
        assert not passwords.known(b"alice" + separator + HASH.encode(), SECRET.encode())
        assert not passwords.verify(b"alice" + separator, SECRET.encode())
    # As in the toolkit's TestByPassBasicAuthVuln: a user who is named like the beginning of another's key.
    assert not passwords.verify(b"alice:", b"fakepassword")
    assert not passwords.verify(b"alice:", b"fakepassword")


def test_fakepassword(passwords: Passwords) -> None:
    """The password of the toolkit's stand-in for unknown users logs nobody in, cold or remembered."""
    for _ in range(2):
        assert not passwords.verify(b"eve", b"fakepassword")
        assert not passwords.verify(b"", b"fakepassword")
        assert not passwords.verify(b"alice", b"fakepassword")


def test_unknown_users_cost_what_known_ones_do(hasher: Hasher) -> None:
    """For an unknown user one hash is made, valid, at the cost of one of the users, always the same."""
    users = {"a": HASH, "b": HASH.replace("$04$", "$05$")}
    passwords = Passwords(lambda: users)
    for number in range(40):
        assert not passwords.verify(f"unknown{number}".encode(), b"x")
    assert len(hasher.calls) == 40
    assert {hashed[:7] for hashed in hasher.calls} == {b"$2b$04$", b"$2b$05$"}
    checked_users("users", {str(n): hashed.decode() for n, hashed in enumerate(hasher.calls)})
    for number in range(10):
        assert not passwords.verify(b"unknown1", b"%d" % number)
    assert set(hasher.calls[40:]) == {hasher.calls[1]}


def test_unknown_users_take_as_long() -> None:
    """Whether there is such a user cannot be told from the time."""
    strong = bcrypt.hashpw(b"x", bcrypt.gensalt(9)).decode()
    passwords = Passwords(lambda: {"alice": strong})

    def best(user: bytes) -> float:
        times = []
        for number in range(3):
            start = time.thread_time()
            passwords.verify(user, b"guess%d" % number)
            times.append(time.thread_time() - start)
        return min(times)

    assert best(b"eve") == pytest.approx(best(b"alice"), rel=0.5)


def test_a_changed_hash_is_a_changed_password() -> None:
    """What was remembered counts for the hash that it was verified against."""
    users = {"alice": HASH}
    passwords = Passwords(lambda: users)
    assert passwords.verify(b"alice", SECRET.encode())
    users["alice"] = bcrypt.hashpw(b"new", bcrypt.gensalt(4)).decode()
    assert not passwords.verify(b"alice", SECRET.encode())
    assert passwords.verify(b"alice", b"new")
    del users["alice"]
    assert not passwords.verify(b"alice", b"new")


def test_the_memory_is_bounded(passwords: Passwords, hasher: Hasher) -> None:
    """Wrong passwords are remembered up to a bound, and do not push out the right ones."""
    assert passwords.verify(b"alice", SECRET.encode())
    for number in range(CACHE_SIZE + 50):
        assert not passwords.verify(b"alice", b"%d" % number)
    assert len(passwords._wrong) == CACHE_SIZE  # no answer tells how many are remembered
    assert passwords.known(b"alice", SECRET.encode()) is True
    assert passwords.known(b"alice", b"0") is None


def test_hashes_are_made_one_at_a_time(passwords: Passwords, hasher: Hasher) -> None:
    """Requests that come together with one password cost one hash; with several, one after the other."""
    hasher.go_on.clear()
    results: list[bool] = []

    def ask(password: bytes) -> None:
        results.append(passwords.verify(b"alice", password, password))

    threads = [threading.Thread(target=ask, args=(p,)) for p in [SECRET.encode()] * 4 + [b"x", b"y"]]
    for thread in threads:
        thread.start()
    hasher.go_on.set()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, True, True, True, True]
    assert (len(hasher.calls), hasher.most) == (3, 1)


def test_who_waits_is_bounded(passwords: Passwords, hasher: Hasher) -> None:
    """When many passwords are tried at once, the others are told so, and known ones still pass at once."""
    assert passwords.verify(b"alice", SECRET.encode())
    hasher.go_on.clear()
    threads = [
        threading.Thread(target=passwords.verify, args=(b"alice", b"%d" % number, number))
        for number in range(MAX_WAITING)
    ]
    for thread in threads:
        thread.start()
    # A try would be answered too early, or take a place: only the inside tells when all of them wait.
    deadline = time.monotonic() + 5
    while passwords._places.enter() and time.monotonic() < deadline:
        passwords._places.leave()
        time.sleep(0.01)
    with pytest.raises(BusyError):
        passwords.verify(b"alice", b"one more")
    assert passwords.verify(b"alice", SECRET.encode())
    hasher.go_on.set()
    for thread in threads:
        thread.join()
    assert not passwords.verify(b"alice", b"one more")


def test_one_client_leaves_room_for_others(passwords: Passwords, hasher: Hasher) -> None:
    """Whoever tries passwords from one address does not keep others from logging in for the first time."""
    hasher.go_on.clear()
    threads = [
        threading.Thread(target=passwords.verify, args=(b"alice", b"%d" % number, "attacker"))
        for number in range(MAX_WAITING_EACH)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while len(passwords._waiting) < MAX_WAITING_EACH and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(BusyError):
        passwords.verify(b"alice", b"one more", "attacker")
    threading.Timer(0.2, hasher.go_on.set).start()
    assert passwords.verify(b"alice", SECRET.encode(), "scraper")
    for thread in threads:
        thread.join()


def test_long_passwords() -> None:
    """bcrypt looks at 72 bytes; what is behind them changes nothing and fails nowhere."""
    long = b"p" * 100
    hashed = bcrypt.hashpw(long[:72], bcrypt.gensalt(4)).decode()
    passwords = Passwords(lambda: {"alice": hashed})
    assert passwords.verify(b"alice", long)
    assert not passwords.verify(b"alice", long[:71])
    assert not passwords.verify(b"alice", b"\0" * 5000)


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        "secret-in-plain",
        HASH[:-1],
        HASH + "x",
        HASH.replace("$04$", "$03$"),
        HASH.replace("$2b$", "$2x$"),
        None,
        7,
    ],
    ids=range(8),
)
def test_what_is_no_hash(hashed: object) -> None:
    """Something else than a bcrypt hash is refused without being shown: it may be the password."""
    with pytest.raises(ConfigurationError, match=r"^users\.alice: .*htpasswd") as caught:
        checked_users("users", {"alice": hashed})
    assert "secret-in-plain" not in str(caught.value)
    assert caught.value.value == "what stands there"


def test_names_that_nobody_could_use() -> None:
    """A name with a colon, or none that is a string, is refused; so is something that is no mapping."""
    for users in ({"a:b": HASH}, {1: HASH}, [HASH]):
        with pytest.raises(ConfigurationError):
            checked_users("users", users)


def test_without_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bcrypt, passwords are an error that says what to install."""
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(ConfigurationError, match=r"pip install (PyYAML|bcrypt)"):
        Passwords(lambda: {"alice": HASH})


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file of two tokens."""
    path = tmp_path / "tokens"
    path.write_text(f"# scrapers\n\n{TOKEN}  # until May\n{OTHER}\n")
    return path


def replace_file(path: Path, text: str) -> None:
    """Another file in the place of this one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_tokens_of_a_file(token_file: Path) -> None:
    """Every line is a token; comments and empty lines are none."""
    tokens = BearerTokens("bearer_tokens_file", token_file)
    assert tokens.known(TOKEN)
    assert tokens.known(OTHER)
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "scrapers", "\udc80", f"{TOKEN}  # until May"):
        assert not tokens.known(wrong)


def test_a_file_that_does_not_answer(
    token_file: Path, caplog: pytest.LogCaptureFixture, later: Later
) -> None:
    """A pipe, or a disk that hangs, holds nobody up: the tokens from before stay until it answers."""
    tokens = BearerTokens("bearer_tokens_file", token_file)
    pipe = token_file.with_name("pipe")
    os.mkfifo(pipe)
    token_file.unlink()
    os.link(pipe, token_file)
    start = time.monotonic()
    for _ in range(20):
        assert later(tokens).known(TOKEN)
    assert time.monotonic() - start < 5
    assert "does not answer" in str(tokens.problem)
    log_without_waiting(logging.WARNING, "something else")
    assert later(tokens).known(TOKEN)
    for thread in threading.enumerate():
        if thread.name == "otel-prom-bridge-log":
            thread.join(10)
    assert caplog.text.count("does not answer") == 1
    replace_file(token_file, f"{OTHER}\n")
    os.close(os.open(pipe, os.O_WRONLY))  # whoever reads from it gets nothing, and goes on
    deadline = time.monotonic() + 10
    while not later(tokens).known(OTHER) or tokens.problem is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not tokens.known(TOKEN)


def test_every_token_is_compared(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons take constant time, and a match does not end them."""
    tokens = BearerTokens("bearer_tokens_file", token_file)
    compared: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert tokens.known(TOKEN)
    assert not tokens.known("x")
    assert len(compared) == 4


def test_tokens_rotate(token_file: Path, later: Later) -> None:
    """A token that is added passes, one that is taken out does not; the file is seen within a second."""
    tokens = BearerTokens("bearer_tokens_file", token_file)
    replace_file(token_file, f"{OTHER}\nthird-token-0123456789")
    assert tokens.known(TOKEN)
    later(tokens)
    assert not tokens.known(TOKEN)
    assert tokens.known(OTHER)
    assert tokens.known("third-token-0123456789")


def test_a_bad_token_file_changes_nothing(token_file: Path, later: Later) -> None:
    """A file that is gone or makes no sense leaves the tokens as they are, and its recovery is seen."""
    tokens = BearerTokens("bearer_tokens_file", token_file)
    token_file.unlink()
    assert later(tokens).known(TOKEN)
    assert "No such file" in str(tokens.problem)
    token_file.write_text("two words")
    assert later(tokens).known(TOKEN)
    assert "line 1" in str(tokens.problem)
    assert "two words" not in str(tokens.problem)
    token_file.write_bytes(b"\xff\xfe\x00")
    assert later(tokens).known(TOKEN)
    token_file.write_text("third-token-0123456789")
    assert not later(tokens).known(TOKEN)
    assert tokens.problem is None


def test_an_emptied_token_file_lets_nobody_in(
    token_file: Path, caplog: pytest.LogCaptureFixture, later: Later
) -> None:
    """To revoke all tokens is to take them out; as it may be a mishap, the log warns of it."""
    caplog.set_level(logging.INFO)
    tokens = BearerTokens("bearer_tokens_file", token_file)
    replace_file(token_file, "# none\n")
    assert not later(tokens).known(TOKEN)
    assert not tokens.known("")
    wait_for(lambda: "read again" in caplog.text, seconds=5, what="the line")
    (line,) = [record for record in caplog.records if "read again" in record.message]
    assert (line.levelname, "no token is left, so nobody gets in" in line.message) == ("WARNING", True)
    assert "in use" not in line.message


@pytest.mark.parametrize("text", ["", "# nothing\n", "has some spaces in it", "ünïcödé-0123456789"])
def test_token_files_that_cannot_work(tmp_path: Path, text: str) -> None:
    """At the start a file without tokens, or with something that is none, is an error without its text."""
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        BearerTokens("bearer_tokens_file", path)
    assert not text or text.startswith("#") or text not in str(caught.value)


def test_short_tokens_are_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, later: Later
) -> None:
    """They may be guessed, and they are what somebody has: one line says how to make better ones."""
    path = tmp_path / "tokens"
    path.write_text("short\nanother\n")
    tokens = BearerTokens("bearer_tokens_file", path)
    assert tokens.known("short")
    assert not tokens.known("shor")
    replace_file(path, "third\n")
    assert later(tokens).known("third")
    lines = [text for text in caplog.messages if "may be guessed" in text]
    assert lines == [
        f"{path}: a token of less than 16 characters may be guessed; `openssl rand -hex 32` makes one"
    ]
    assert "another" not in caplog.text


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/", "nul\0byte"])
def test_token_files_that_are_none(path: str) -> None:
    """At the start a file that cannot be read is an error."""
    with pytest.raises(ConfigurationError, match=r"bearer_tokens_file"):
        BearerTokens("bearer_tokens_file", path)


AUTHENTICATIONS: list[Callable[[Path], Authentication]] = [
    lambda path: Authentication(tokens=BearerTokens("f", path), passwords=None),
    lambda path: Authentication(tokens=None, passwords=Passwords(lambda: {"alice": HASH})),
    lambda path: Authentication(tokens=BearerTokens("f", path), passwords=Passwords(lambda: {"alice": HASH})),
]


@pytest.mark.parametrize("make", AUTHENTICATIONS)
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"alice:wrong").decode(),
        "Basic " + base64.b64encode(f"alice:{SECRET}".encode()).decode().rstrip("=") + "=====",
        "Basic \xff\xfe",
        f"{basic('alice', SECRET)}, {basic('alice', SECRET)}",  # two headers, joined
        "Basic" + basic("alice", SECRET)[6:],
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer{TOKEN}",
        f"Token {TOKEN}",
        TOKEN,
        "Bearer " + "a" * 9000,
        "Basic " + "QUFB" * 3000,
        "Digest username=alice",
    ],
)
def test_headers_that_let_nobody_in(
    make: Callable[[Path], Authentication], token_file: Path, header: str
) -> None:
    """Malformed, doubled, cut and wrong credentials are wrong, whatever is configured; none raises."""
    assert make(token_file).judge(header, hashing=True) is Verdict.WRONG


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        (f"Bearer {TOKEN}", (True, False, True)),
        (f"bearer   {OTHER} ", (True, False, True)),
        (basic("alice", SECRET), (False, True, True)),
        (basic("alice", SECRET).replace("Basic", "bAsIc"), (False, True, True)),
        (None, (False, False, False)),
    ],
)
def test_headers_that_do(header: str | None, passes: tuple[bool, ...], token_file: Path) -> None:
    """A token passes where there are tokens, a password where there are passwords, either where both are."""
    judged = [make(token_file).judge(header, hashing=True).passes for make in AUTHENTICATIONS]
    assert judged == list(passes)


@given(
    st.one_of(
        st.text(max_size=60),
        st.tuples(
            st.sampled_from(["Basic ", "basic\t", "Bearer ", "BEARER "]),
            st.one_of(
                st.text(max_size=60), st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode())
            ),
        ).map("".join),
    )
)
def test_no_header_raises(header: str) -> None:
    """Whatever a header says, reading it raises nothing, and gives no more than it says."""
    token, pair = bearer_token(header), user_and_password(header)
    assert token is None or (token in header and pair is None)
    if pair is not None:
        assert base64.b64encode(b":".join(pair)).decode() in header


def test_secrets_are_not_shown(token_file: Path) -> None:
    """No repr shows a password, a hash or a token, and none is kept as it is."""
    users = {"alice": HASH}
    passwords, tokens = Passwords(lambda: users), BearerTokens("f", token_file)
    passwords.verify(b"alice", SECRET.encode())
    tokens.known(TOKEN)
    shown = repr((vars(passwords), vars(tokens), vars(tokens._watched), passwords._right._digests, tokens))
    assert not any(secret in shown for secret in (SECRET, HASH, TOKEN, OTHER))
