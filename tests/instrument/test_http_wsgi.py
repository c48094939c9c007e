"""The middleware for WSGI applications, driven as a server drives it and judged by wsgiref's validator."""

from __future__ import annotations

import gc
import io
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from genai_points import Recorded
from opentelemetry.sdk.trace import TracerProvider
from wsgi_requests import Answer, ask, environ

from otel_prom_bridge.instrument import ROUTE, WsgiMetrics

DURATION = "http.server.request.duration"
REQUEST_SIZE = "http.server.request.body.size"
RESPONSE_SIZE = "http.server.response.body.size"
ACTIVE = "http.server.active_requests"
CONNECTIONS = "http.server.active_connections"
HEADERS = [("Content-Type", "text/plain")]


def hello(environ: Any, start_response: Any) -> Any:
    """Reads the request and says hello, in two parts."""
    environ["wsgi.input"].read(10_000)
    start_response("200 OK", HEADERS)
    yield b"hel"
    yield b"lo"


def instrumented(recorded: Recorded, app: Any = hello, **options: Any) -> WsgiMetrics:
    """The application with our middleware."""
    return WsgiMetrics(app, meter_provider=recorded.provider, **options)


def test_a_request(recorded: Recorded) -> None:
    """It is in the three histograms, with the attributes of the conventions."""
    answer = ask(instrumented(recorded), "/v1/users/17", "POST", body=b"abcde", CONTENT_LENGTH="5")
    assert (answer.status, answer.body) == ("200 OK", b"hello")
    assert recorded.point(REQUEST_SIZE).sum == recorded.point(RESPONSE_SIZE).sum == 5
    assert dict(recorded.point(DURATION).attributes) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.route": "/v1/users/{number}",
        "http.response.status_code": 200,
    }
    assert recorded.point(ACTIVE).value == recorded.point(CONNECTIONS).value == 0


def test_a_body_of_unknown_length(recorded: Recorded) -> None:
    """What the application reads of it counts, however it reads."""

    def app(environ: Any, start_response: Any) -> Any:
        source = environ["wsgi.input"]
        read = [source.read(2), source.readline(), *source.readlines(1), *source]
        start_response("200 OK", HEADERS)
        return [b"".join(read)]

    body = b"ab\ncd\nef\ngh\n"
    answer = ask(instrumented(recorded, app), "/", "POST", body=body, CONTENT_LENGTH=None)
    assert answer.body == body
    assert recorded.point(REQUEST_SIZE).sum == len(body)


def test_in_flight_until_the_last_part(recorded: Recorded) -> None:
    """A streamed answer goes on while the server reads it."""
    parts = instrumented(recorded)(environ(), lambda *_: lambda _: None)
    next(iter(parts))
    assert recorded.point(ACTIVE).value == recorded.point(CONNECTIONS).value == 1
    assert recorded.count(DURATION) == 0
    assert list(parts) == [b"lo"]
    assert recorded.point(ACTIVE).value == 0
    assert recorded.count(DURATION) == 1


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_client_that_hangs_up(recorded: Recorded, how: str) -> None:
    """What the server closes or drops before its end was cancelled."""
    parts: Any = instrumented(recorded)(environ(), lambda *_: lambda _: None)
    next(iter(parts))
    if how == "close":
        parts.close()
    del parts
    gc.collect()
    assert recorded.errors(DURATION) == ["cancelled"]
    assert recorded.point(ACTIVE).value == 0


def test_the_application_is_closed(recorded: Recorded) -> None:
    """A server closes what the application returned, through us."""
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return Body([b"x"])

    parts: Any = instrumented(recorded, app)(environ(), lambda *_: lambda _: None)
    assert len(parts) == 1  # by which servers know the length of the only part
    assert list(parts) == [b"x"]
    parts.close()
    assert closed == [True]


def test_an_application_that_raises(recorded: Recorded) -> None:
    """At once, or while its answer is read."""

    def at_once(environ: Any, start_response: Any) -> Any:
        raise KeyError("x")

    def later(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b"x"
        raise TimeoutError

    with pytest.raises(KeyError):
        ask(instrumented(recorded, at_once), valid=False)
    with pytest.raises(TimeoutError):
        ask(instrumented(recorded, later), valid=False)
    statuses = {
        p.attributes["error.type"]: p.attributes["http.response.status_code"]
        for p in recorded.points(DURATION)
    }
    assert statuses == {"KeyError": 500, "TimeoutError": 200}


def test_write_and_errors(recorded: Recorded) -> None:
    """The old way to write counts, and so does an answer that is replaced after an error."""

    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", HEADERS)
        write(b"abc")
        return [b"de"]

    def replaced(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        try:
            raise KeyError
        except KeyError:
            import sys

            start_response("500 Oops", HEADERS, sys.exc_info())
        return [b""]

    assert ask(instrumented(recorded, app)).body == b"abcde"
    assert recorded.point(RESPONSE_SIZE).sum == 5
    ask(instrumented(recorded, replaced))
    assert recorded.errors(DURATION) == [None, "500"]


def test_files_that_the_server_sends(recorded: Recorded) -> None:
    """A file that the server knows how to send stays one; its length is what the answer says."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [*HEADERS, ("Content-Length", "700")])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 700))

    given = {"wsgi.file_wrapper": FileWrapper}
    assert isinstance(instrumented(recorded, app)(environ(**given), lambda *_: lambda _: None), FileWrapper)
    assert recorded.point(RESPONSE_SIZE).sum == 700


@pytest.mark.parametrize(
    ("script", "path", "excluded"), [("", "/health", True), ("/api", "/metrics", True), ("/api", "/x", False)]
)
def test_excluded_paths(recorded: Recorded, script: str, path: str, excluded: bool) -> None:
    """Where the application is mounted makes no difference."""
    ask(instrumented(recorded), path, SCRIPT_NAME=script)
    assert recorded.count(DURATION) == (0 if excluded else 1)


def test_a_path_in_another_script(recorded: Recorded) -> None:
    """WSGI hands paths over as latin-1."""
    ask(instrumented(recorded), "/über/x".encode().decode("latin-1"))
    assert recorded.point(DURATION).attributes["http.route"] == "/über/x"


def test_the_application_may_say_its_route(recorded: Recorded) -> None:
    """For frameworks that nobody here knows."""

    def app(environ: Any, start_response: Any) -> Any:
        environ[ROUTE] = "/plants/{name}"
        return hello(environ, start_response)

    ask(instrumented(recorded, app), "/plants/ivy")
    assert recorded.point(DURATION).attributes["http.route"] == "/plants/{name}"


def test_an_answer_to_head(recorded: Recorded) -> None:
    """Servers need not read the body of one, and close it."""
    parts: Any = instrumented(recorded)(environ(method="HEAD"), lambda *_: lambda _: None)
    parts.close()
    assert recorded.errors(DURATION) == [None]


def test_exemplars(recorded: Recorded) -> None:
    """They lead to the span that goes on when the answer begins."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    ids: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        with tracer.start_as_current_span("request") as span:
            ids.append(span.get_span_context().trace_id)
            start_response("200 OK", HEADERS)
        return [b"x"]

    ask(instrumented(recorded, app))
    (point,) = recorded.metrics()[DURATION].data.data_points
    assert [exemplar.trace_id for exemplar in point.exemplars] == ids


def test_nothing_is_asked_of_an_answer(recorded: Recorded) -> None:
    """A status that is none costs its label and nothing else."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("OK", HEADERS)
        return [b"x"]

    answer: Answer = ask(instrumented(recorded, app), valid=False)
    assert answer.body == b"x"
    assert "http.response.status_code" not in recorded.point(DURATION).attributes
