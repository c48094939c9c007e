"""gRPC's interceptors with real servers and clients, with threads and with asyncio."""

from __future__ import annotations

import asyncio
import gc
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from genai_points import Recorded
from grpc_services import SERVICE, AioService, Service, handlers
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instrument.grpc import (
    AioServerInterceptor,
    ClientInterceptor,
    RpcMetrics,
    ServerInterceptor,
    aio_client_interceptors,
)
from otel_prom_bridge.instrument.grpc.handlers import ServerCalls

SERVER = "rpc.server.call.duration"
CLIENT = "rpc.client.call.duration"
SERVER_STREAMS = "rpc.server.active_streams"
CLIENT_STREAMS = "rpc.client.active_streams"
LOOPBACK = "127.0.0.1"
# What is asked, and the code that both sides see.
ASKED = [(b"x", "OK"), (b"abort", "NOT_FOUND"), (b"code", "ALREADY_EXISTS"), (b"raise", "UNKNOWN")]
KINDS = ["One", "Many", "Collect", "Talk"]


def codes(recorded: Recorded, name: str) -> dict[tuple[str, str, str | None], int]:
    """How many calls ended how: by method, code and error."""
    return {
        (
            p.attributes["rpc.method"].removeprefix(f"{SERVICE}/"),
            p.attributes["rpc.response.status_code"],
            p.attributes.get("error.type"),
        ): p.count
        for p in recorded.points(name)
    }


def soon(check: Callable[[], bool]) -> None:
    """A server ends a call a moment after its client has the answer."""
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def channel(recorded: Recorded) -> Iterator[grpc.Channel]:
    """A channel to a server with threads, both with interceptors."""
    interceptor = ServerInterceptor(meter_provider=recorded.provider)
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[interceptor])
    server.add_generic_rpc_handlers((handlers(Service()),))
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    with grpc.insecure_channel(f"{LOOPBACK}:{port}") as plain:
        yield grpc.intercept_channel(plain, ClientInterceptor(meter_provider=recorded.provider))
    server.stop(None).wait(10)


def call(channel: Any, kind: str, request: bytes, **options: Any) -> Any:
    """A call of this kind: a list of the answers, or whatever the channel gives."""
    method = f"/{SERVICE}/{kind}"
    if kind == "One":
        return [channel.unary_unary(method)(request, **options)]
    if kind == "Many":
        return list(channel.unary_stream(method)(request, **options))
    if kind == "Collect":
        return [channel.stream_unary(method)(iter([request, request]), **options)]
    return list(channel.stream_stream(method)(iter([request, request]), **options))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("request_", "code"), ASKED)
def test_threads(recorded: Recorded, channel: Any, kind: str, request_: bytes, code: str) -> None:
    """Each kind of call, however it ends, is recorded once on both sides with the name of its code."""
    if code == "OK":
        assert call(channel, kind, request_)
    else:
        with pytest.raises(grpc.RpcError):
            call(channel, kind, request_)
    soon(lambda: recorded.count(SERVER) == recorded.count(CLIENT) == 1)
    errors = {"OK": (None, None), "UNKNOWN": ("KeyError", "UNKNOWN")}
    server, client = errors.get(code, (None, code))
    assert codes(recorded, SERVER) == {(kind, code, server): 1}
    assert codes(recorded, CLIENT) == {(kind, code, client): 1}
    for streams in (SERVER_STREAMS, CLIENT_STREAMS):
        assert [p.value for p in recorded.points(streams)] == ([] if kind == "One" else [0])


@pytest.mark.parametrize("kind", ["One", "Many"])
def test_deadlines(recorded: Recorded, channel: Any, kind: str) -> None:
    """The time of a call is over: both sides say so."""
    with pytest.raises(grpc.RpcError):
        call(channel, kind, b"slow", timeout=0.2)
    soon(lambda: recorded.count(SERVER) == recorded.count(CLIENT) == 1)
    expected = {(kind, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"): 1}
    assert codes(recorded, SERVER) == codes(recorded, CLIENT) == expected


def test_a_client_that_cancels(recorded: Recorded, channel: Any) -> None:
    """A stream that is cancelled in its middle; while it goes on it is an active one."""
    answers = channel.unary_stream(f"/{SERVICE}/Many")(b"slow")
    assert next(answers) == b"1"
    assert [p.value for p in recorded.points(SERVER_STREAMS)] == [1]
    assert [p.value for p in recorded.points(CLIENT_STREAMS)] == [1]
    answers.cancel()
    soon(lambda: recorded.count(SERVER) == recorded.count(CLIENT) == 1)
    assert codes(recorded, SERVER) == {("Many", "CANCELLED", None): 1}
    assert codes(recorded, CLIENT) == {("Many", "CANCELLED", "CANCELLED"): 1}
    assert [p.value for p in recorded.points(SERVER_STREAMS)] == [0]


def test_a_method_that_there_is_not(recorded: Recorded, channel: Any) -> None:
    """Its name is the client's own, so the server does not record it."""
    with pytest.raises(grpc.RpcError):
        channel.unary_unary("/any.Thing/AtAll")(b"x")
    assert codes(recorded, SERVER) == {("_OTHER", "UNIMPLEMENTED", "UNIMPLEMENTED"): 1}
    assert codes(recorded, CLIENT) == {("any.Thing/AtAll", "UNIMPLEMENTED", "UNIMPLEMENTED"): 1}


class _Door(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without a token, and breaks at some."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        said = dict(details.invocation_metadata)
        if "breaks" in said:
            raise RuntimeError
        if "token" in said:
            return continuation(details)
        return grpc.unary_unary_rpc_method_handler(
            lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        )


@contextmanager
def guarded_channel(recorded: Recorded) -> Iterator[grpc.Channel]:
    """A channel to a server with a second interceptor, and with requests that are numbers."""
    interceptors = [ServerInterceptor(meter_provider=recorded.provider), _Door()]
    server = grpc.server(ThreadPoolExecutor(4), interceptors=interceptors)
    handler = grpc.unary_unary_rpc_method_handler(lambda number, _: b"%d" % number, int)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Number": handler}),))
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    with grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        yield channel
    server.stop(None).wait(10)


def test_names_that_clients_make_up(recorded: Recorded) -> None:
    """Calls that another interceptor refuses have a name once a call of that name was served."""
    with guarded_channel(recorded) as channel:

        def asked(name: str, *metadata: str, request: bytes = b"7") -> None:
            method = channel.unary_unary(f"/{SERVICE}/{name}")
            with suppress(grpc.RpcError):
                method(request, metadata=[(key, "") for key in metadata], timeout=10)

        asked("Number")
        asked("Number", "token")
        asked("Number")
        asked("Number", "token", request=b"no number")
        for number in range(3):
            asked(f"Made/Up{number}")
        asked("Number", "breaks")
        soon(lambda: recorded.count(SERVER) == 8)
    assert codes(recorded, SERVER) == {
        ("_OTHER", "UNAUTHENTICATED", None): 4,
        ("Number", "OK", None): 1,
        ("Number", "UNAUTHENTICATED", None): 1,
        ("Number", "INTERNAL", "INTERNAL"): 1,
        ("_OTHER", "UNKNOWN", "RuntimeError"): 1,
    }


def test_many_methods(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """An interceptor may serve any name. There is an end to those that are recorded."""
    calls = ServerCalls(recorded.provider, unreadable="INTERNAL")
    context = types.SimpleNamespace(code=lambda: None)
    for number in range(600):
        calls.over(calls.begin(f"/s/M{number}", False), context, None)
    methods = {p.attributes["rpc.method"]: p.count for p in recorded.points(SERVER)}
    assert len(methods) == 501
    assert methods["_OTHER"] == 100
    assert caplog.text.count("more than 500 methods") == 1


def test_a_stream_that_is_dropped(recorded: Recorded, channel: Any) -> None:
    """gRPC cancels a stream that nobody holds any more, also one that is recorded."""
    answers = channel.unary_stream(f"/{SERVICE}/Many")(b"slow")
    next(answers)
    del answers
    gc.collect()
    soon(lambda: recorded.count(SERVER) == recorded.count(CLIENT) == 1)
    assert codes(recorded, CLIENT) == {("Many", "CANCELLED", "CANCELLED"): 1}
    assert [p.value for p in recorded.points(CLIENT_STREAMS)] == [0]


def test_a_stream_of_requests_that_raises(recorded: Recorded, channel: Any) -> None:
    """The error that the application gets is gRPC's own."""

    def requests() -> Iterator[bytes]:
        yield b"x"
        raise ValueError

    with pytest.raises(grpc.RpcError):
        channel.stream_unary(f"/{SERVICE}/Collect")(requests(), timeout=10)
    soon(lambda: recorded.count(CLIENT) == 1)
    assert codes(recorded, CLIENT) == {("Collect", "UNKNOWN", "UNKNOWN"): 1}


def test_futures(recorded: Recorded, channel: Any) -> None:
    """A call that is not waited for is recorded when it is done."""
    assert channel.unary_unary(f"/{SERVICE}/One").future(b"x").result(10) == b"x"
    soon(lambda: recorded.count(CLIENT) == 1)


def test_exemplars(recorded: Recorded, channel: Any) -> None:
    """A client's call leads to the span in which it was made, though it ends in another thread."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    with tracer.start_as_current_span("ask") as span:
        call(channel, "Talk", b"x")
    found: list[int] = []

    def seen() -> bool:
        # Each collection takes the exemplars away, so they are looked for in each.
        found.extend(e.trace_id for p in recorded.points(CLIENT) for e in p.exemplars)
        return bool(found)

    soon(seen)
    assert set(found) == {span.get_span_context().trace_id}


async def _call_async(channel: Any, kind: str, request: bytes, **options: Any) -> Any:
    method = f"/{SERVICE}/{kind}"

    async def twice() -> Any:
        yield request
        yield request

    if kind == "One":
        return [await channel.unary_unary(method)(request, **options)]
    if kind == "Many":
        return [answer async for answer in channel.unary_stream(method)(request, **options)]
    if kind == "Collect":
        return [await channel.stream_unary(method)(twice(), **options)]
    return [answer async for answer in channel.stream_stream(method)(twice(), **options)]


def in_asyncio(recorded: Recorded, work: Callable[[Any], Any]) -> None:
    """Do this with a channel to a server with asyncio, both with interceptors."""

    async def run() -> None:
        server = grpc.aio.server(interceptors=[AioServerInterceptor(meter_provider=recorded.provider)])
        server.add_generic_rpc_handlers((handlers(AioService()),))
        port = server.add_insecure_port(f"{LOOPBACK}:0")
        await server.start()
        interceptors = aio_client_interceptors(meter_provider=recorded.provider)
        async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}", interceptors=interceptors) as channel:
            await work(channel)
            for _ in range(500):
                if recorded.count(SERVER) and recorded.count(CLIENT):
                    break
                await asyncio.sleep(0.01)
        await server.stop(None)

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("request_", "code"), ASKED)
def test_asyncio(recorded: Recorded, kind: str, request_: bytes, code: str) -> None:
    """The same with asyncio. What such a client sees may be INTERNAL, if it was still sending."""
    seen: list[str] = [code]

    async def work(channel: Any) -> None:
        if code == "OK":
            assert await _call_async(channel, kind, request_)
        else:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await _call_async(channel, kind, request_)
            seen[0] = raised.value.code().name

    in_asyncio(recorded, work)
    errors = {"OK": (None, None), "UNKNOWN": ("KeyError", "UNKNOWN")}
    server, _ = errors.get(code, (None, code))
    client = None if code == "OK" else seen[0]
    assert codes(recorded, SERVER) == {(kind, code, server): 1}
    # Where the client was still sending, its exception and its call may differ, and the call is recorded.
    possible = {seen[0], code} | ({"INTERNAL"} if code != "OK" and kind in ("Collect", "Talk") else set())
    assert codes(recorded, CLIENT) in [{(kind, each, client and each): 1} for each in possible]
    for streams in (SERVER_STREAMS, CLIENT_STREAMS):
        assert [p.value for p in recorded.points(streams)] == ([] if kind == "One" else [0])


@pytest.mark.parametrize("kind", ["One", "Many"])
def test_asyncio_deadlines(recorded: Recorded, kind: str) -> None:
    """The time of a call is over."""

    async def work(channel: Any) -> None:
        with pytest.raises(grpc.RpcError):
            await _call_async(channel, kind, b"slow", timeout=0.2)

    in_asyncio(recorded, work)
    assert codes(recorded, CLIENT) == {(kind, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"): 1}
    ((_, code, _),) = codes(recorded, SERVER)
    assert code in ("DEADLINE_EXCEEDED", "CANCELLED")


def test_asyncio_with_functions(recorded: Recorded) -> None:
    """A server with asyncio may have behaviors that are plain functions and generators."""

    async def run() -> None:
        server = grpc.aio.server(
            ThreadPoolExecutor(2), interceptors=[AioServerInterceptor(meter_provider=recorded.provider)]
        )
        server.add_generic_rpc_handlers((handlers(Service()),))
        port = server.add_insecure_port(f"{LOOPBACK}:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
            assert await _call_async(channel, "One", b"x") == [b"x"]
            assert await _call_async(channel, "Many", b"x") == [b"1", b"x"]
            with pytest.raises(grpc.aio.AioRpcError):
                await _call_async(channel, "One", b"abort")
            while recorded.count(SERVER) < 3:
                await asyncio.sleep(0.01)
        await server.stop(None)

    asyncio.run(asyncio.wait_for(run(), 30))
    expected = {("One", "OK", None): 1, ("Many", "OK", None): 1, ("One", "NOT_FOUND", None): 1}
    assert codes(recorded, SERVER) == expected


class _Kept(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Answers without a call."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return b"kept"


def test_asyncio_with_an_answer_of_another_interceptor(recorded: Recorded) -> None:
    """It is no call that ends some time."""

    async def run() -> None:
        interceptors = [*aio_client_interceptors(meter_provider=recorded.provider), _Kept()]
        async with grpc.aio.insecure_channel("127.0.0.1:1", interceptors=interceptors) as channel:
            assert await _call_async(channel, "One", b"x") == [b"kept"]

    asyncio.run(asyncio.wait_for(run(), 30))
    assert codes(recorded, CLIENT) == {("One", "OK", None): 1}


def test_the_guard(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """For code that has no interceptor: blocks, by hand, and what goes wrong."""
    calls = RpcMetrics("server", meter_provider=recorded.provider)
    with calls.call("incidents.Service", "Create", streams=True) as guard:
        assert recorded.point(SERVER_STREAMS, rpc__method="incidents.Service/Create").value == 1
        guard.status(grpc.StatusCode.NOT_FOUND)
    guard = calls.call("incidents.Service", "Create").start()
    guard.success()
    guard.error("INTERNAL")
    calls.call("incidents.Service", "Create").start().error(13)
    with pytest.raises(KeyError), calls.call("incidents.Service", "Create"):
        raise KeyError
    found = {
        (p.attributes["rpc.response.status_code"], p.attributes.get("error.type"))
        for p in recorded.points(SERVER)
    }
    assert found == {("NOT_FOUND", None), ("OK", None), ("INTERNAL", "INTERNAL"), ("UNKNOWN", "KeyError")}
    assert {p.attributes["rpc.method"] for p in recorded.points(SERVER)} == {"incidents.Service/Create"}
    assert recorded.count(SERVER) == 4
    assert "ends a second time" in caplog.text
    with pytest.raises(ConfigurationError):
        RpcMetrics("both")  # type: ignore[arg-type]
