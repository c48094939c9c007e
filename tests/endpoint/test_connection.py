"""HTTP without sockets: bytes in, requests out, bytes of the response out."""

from __future__ import annotations

import re
import time
from email.utils import formatdate

import pytest
from wire import HOST, OK, REFUSED

from otel_prom_bridge.endpoint.messages import Response
from otel_prom_bridge.endpoint.server import connection, heads
from otel_prom_bridge.endpoint.server.connection import Connection
from otel_prom_bridge.endpoint.server.heads import Head, Refusal


def ask(data: bytes) -> Head | Refusal | None:
    """What the first request in these bytes is."""
    connection = Connection()
    connection.receive(data)
    return connection.next()


def head(data: bytes) -> Head:
    """The request that these bytes must be."""
    found = ask(data)
    assert isinstance(found, Head), found
    return found


def answered(data: bytes, response: Response = OK) -> tuple[bytes, Connection]:
    """The bytes that answer the first request in these bytes."""
    connection = Connection()
    connection.receive(data)
    assert isinstance(connection.next(), Head)
    return b"".join(connection.answer(response)), connection


def test_a_request_says_what_it_asks_for() -> None:
    """Method, path, query and headers, the names in lower case; a header that comes twice is one list."""
    found = head(
        b"GET /metrics?name[]=a%20b HTTP/1.1\r\nHost: x:1\r\nACCEPT: text/plain\r\nAccept:  */* \r\n\r\n"
    )
    assert (found.method, found.path, found.query) == ("GET", "/metrics", "name[]=a%20b")
    assert dict(found.headers) == {"host": "x:1", "accept": "text/plain, */*"}
    assert found.keep_alive


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/metrics", "/metrics", ""),
        (b"//metrics?a=b", "/metrics", "a=b"),
        (b"/%6detrics", "/metrics", ""),
        (b"http://host:1/metrics?x=http://y", "/metrics", "x=http://y"),
        (b"https://host", "", ""),
        (b"/metrics?x=http://y", "/metrics", "x=http://y"),
        (b"*", "*", ""),
        (b"http://[/metrics", "http://[/metrics", ""),
        (b"/[::]//", "/[::]//", ""),
        (b"host:443", "443", ""),
    ],
)
def test_targets(target: bytes, path: str, query: str) -> None:
    """Paths, whole URLs, the asterisk; what is none of them is a path that nobody serves."""
    found = head(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (found.path, found.query) == (path, query)


def test_bytes_may_come_one_by_one() -> None:
    """However a head is cut into pieces, it is the same request, and complete with its last byte."""
    data = b"GET /metrics HTTP/1.1\r\n" + HOST + b"Accept: */*\r\n\r\n"
    connection = Connection()
    for byte in data[:-1]:
        connection.receive(bytes([byte]))
        assert connection.next() is None
        assert connection.has_input
    connection.receive(data[-1:])
    assert connection.next() == head(data)
    assert not connection.has_input


@pytest.mark.parametrize(("data", "status"), REFUSED)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_what_is_refused(data: bytes, status: int, size: int) -> None:
    """However it is cut into pieces; the answer is one, it closes, and nothing after it is looked at."""
    connection = Connection()
    refusal: Head | Refusal | None = None
    for start in range(0, len(data), size):
        connection.receive(data[start : start + size])
        if (refusal := connection.next()) is not None:
            break
    assert isinstance(refusal, Refusal), refusal
    assert refusal.status == status
    answer = b"".join(connection.refuse(refusal))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in answer
    assert b"\r\nContent-Length: " in answer
    assert connection.closes
    connection.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.next() is None
    assert not connection.has_input


def test_the_largest_head_is_accepted() -> None:
    """A hundred fields, and nearly 16 KB."""
    fields = HOST + b"X: " + b"y" * 150 + b"\r\n"
    fields += b"X: y\r\n" * 98
    assert isinstance(ask(b"GET / HTTP/1.1\r\n" + fields + b"\r\n"), Head)
    assert isinstance(ask(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 16300 + b"\r\n\r\n"), Head)


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: TE, Close\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.1", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n", True),
        (b"1.1", b"Expect: 100-continue\r\n", True),
        (b"1.1", b"Content-Length: 0\r\n", True),
        (b"1.1", b"Content-Length: 3\r\nExpect: 100-continue\r\n", False),
    ],
)
def test_which_connections_stay_open(version: bytes, connection: bytes, stays: bool) -> None:
    """HTTP/1.1 unless the client says no, HTTP/1.0 only if it says yes, never with a body on its way."""
    data = b"GET / HTTP/" + version + b"\r\nHost: x\r\n" + connection + b"\r\n"
    answer, state = answered(data)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nup 1\n")
    assert state.closes is not stays
    assert (b"\r\nConnection: close\r\n" in answer) is not stays
    assert (b"\r\nConnection: keep-alive\r\n" in answer) is (stays and version == b"1.0")


@pytest.mark.parametrize(
    "host",
    [b"", b"x", b"x:", b"a_b.example.:9464", b"127.0.0.1:1", b"[::1]:9464", b"[fe80::1%lo]", b"%61", b"a,b"],
)
def test_hosts_that_can_be(host: bytes) -> None:
    """Names and addresses as clients write them, with a port and without; also none."""
    assert head(b"GET /metrics HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").path == "/metrics"


def test_one_empty_line_before_a_request_is_ignored() -> None:
    """Old clients send one behind a body; it is no input that waits, nor an unfinished request."""
    connection = Connection()
    for _ in range(3):
        connection.receive(b"\r")
        assert connection.next() is None
        connection.receive(b"\n")
        assert connection.next() is None
        assert not connection.has_input
        connection.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert isinstance(connection.next(), Head)
        connection.answer(OK)


def test_a_body_is_not_the_next_request() -> None:
    """What follows a head with a length is not looked at."""
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    answer, state = answered(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 43\r\n\r\n" + smuggled)
    assert answer.count(b"HTTP/1.1") == 1
    assert state.next() is None
    assert state.leaves_input


def test_pipelined_requests_come_one_after_the_other() -> None:
    """The next one is there when the last was answered, in order; input has a bound."""
    connection = Connection()
    data = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(1200))
    connection.receive(data)
    assert not connection.has_room
    for number in range(1200):
        found = connection.next()
        assert isinstance(found, Head)
        assert found.path == f"/{number}"
        connection.answer(OK)
    assert connection.next() is None
    assert connection.has_room


def test_what_was_asked_before_the_end_is_answered() -> None:
    """A client that has shut its side down gets its answers, and the last of them closes."""
    connection = Connection()
    connection.receive(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.end()
    for closes in (False, True):
        assert isinstance(connection.next(), Head)
        connection.answer(OK)
        assert connection.closes is closes


def test_head_has_the_headers_of_get_and_no_body() -> None:
    """Whether the handler left the body away or not."""
    stripped = Response(200, OK.headers, b"")
    whole = answered(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0]
    for response in (OK, stripped):
        assert answered(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", response)[0] == whole[:-5]


def test_there_is_always_a_length() -> None:
    """A response without one gets it, unless its status forbids it."""
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert b"\r\nContent-Length: 3\r\n" in answered(get, Response(200, (), b"abc"))[0]
    assert b"Content-Length" not in answered(get, Response(204, (), b""))[0]
    assert answered(get)[0].count(b"Content-Length") == 1


def test_large_bodies_are_not_copied() -> None:
    """They are sent from where they are; small ones are one piece with their head."""
    connection = Connection()
    connection.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.next()
    body = b"x" * 1_000_000
    pieces = connection.answer(Response(200, (), body))
    assert pieces[1].obj is body
    connection.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.next()
    assert len(connection.answer(OK)) == 1


@pytest.mark.parametrize(
    "header",
    [("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X\r\n", "a"), ("X", "a\rb"), ("X", "\N{EURO SIGN}")],
)
def test_headers_cannot_break_out(header: tuple[str, str]) -> None:
    """A header with a line break in it is an error, not a second response."""
    with pytest.raises(ValueError, match=r"line break|latin-1"):
        answered(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Response(200, (header,), b""))


def test_heads_are_remembered_but_for_their_secrets() -> None:
    """The same bytes are parsed once; with a password in them each time."""
    heads._remembered.cache_clear()
    same = b"GET /same HTTP/1.1\r\nHost: x\r\n\r\n"
    assert head(same) is head(same)
    for name in (b"Authorization", b"Proxy-Authorization", b"authorization", b"Cookie"):
        secret = b"GET / HTTP/1.1\r\nHost: x\r\n" + name + b": Basic c2VjcmV0\r\n\r\n"
        assert head(secret) is not head(secret)
    assert heads._remembered.cache_info().currsize == 1


def test_refusals_do_not_quote() -> None:
    """Nothing that a client sent is in the answer to it."""
    for data, _ in REFUSED:
        refusal = ask(data)
        assert isinstance(refusal, Refusal)
        assert "x" * 10 not in refusal.reason
        assert "Host" not in refusal.reason


def test_the_date_is_written_once_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text is that of the second, in GMT, whatever the locale."""
    now, made = [784111777.9], []

    def formatted(second: int, **options: bool) -> str:
        made.append(second)
        return formatdate(second, **options)

    def date() -> bytes:
        found = re.search(rb"\r\nDate: ([^\r]*)\r\n", answered(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0])
        assert found is not None
        return found[1]

    monkeypatch.setattr(connection, "_date", (0, ""))  # the text of a second may be there already
    monkeypatch.setattr(connection, "formatdate", formatted)
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert {date() for _ in range(5)} == {b"Sun, 06 Nov 1994 08:49:37 GMT"}
    now[0] += 0.1
    assert date() == b"Sun, 06 Nov 1994 08:49:38 GMT"
    assert made == [784111777, 784111778]
