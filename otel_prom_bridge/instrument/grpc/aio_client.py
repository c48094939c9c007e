"""Interceptors for gRPC clients with asyncio: one for each kind of call, as a channel sorts them by class."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

import grpc.aio
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.rpc import RpcCall, RpcMetrics
from otel_prom_bridge.recording.reports import guarded


def aio_client_interceptors(*, meter_provider: MeterProvider | None = None) -> list[Any]:
    """The interceptors of a channel.

    ``grpc.aio.insecure_channel("localhost:50051", interceptors=aio_client_interceptors())``
    """
    calls = RpcMetrics("client", meter_provider=meter_provider)
    return [kind(calls) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


class _Interceptor:
    """What the four share."""

    def __init__(self, calls: RpcMetrics) -> None:
        self._calls = calls

    async def _call(self, continuation: Any, details: Any, request: Any, streams: bool) -> Any:
        call = self._calls.named(details.method, streams=streams).start()
        try:
            outcome = await continuation(details, request)
        except BaseException as error:
            call.end(error)
            raise
        with guarded("the end of a call"):
            if outcome.done():  # the answer of another interceptor, for example
                _ended(call, outcome)
            else:
                outcome.add_done_callback(partial(_ended, call))
        return outcome


def _ended(call: RpcCall, done: Any) -> None:
    with guarded("the status of a call"):
        call.status(_now(done.code()))
    call.end()


def _now(waiting: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives that has nothing to wait for, as that of the code of a call that is done."""
    try:
        waiting.send(None)
    except StopIteration as done:
        return done.value
    waiting.close()
    return "UNKNOWN"


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._call(continuation, client_call_details, request, False)


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._call(continuation, client_call_details, request, True)


class _StreamUnary(_Interceptor, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator, True)


class _StreamStream(_Interceptor, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator, True)
