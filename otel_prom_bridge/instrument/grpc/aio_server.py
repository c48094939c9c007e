"""An interceptor for gRPC servers with asyncio."""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.grpc.handlers import Behavior, Handler, gone, over, unimplemented, wrapped
from otel_prom_bridge.instrument.rpc import RpcCall, RpcMetrics


class AioServerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Records the calls of a server: ``grpc.aio.server(interceptors=[AioServerInterceptor()])``."""

    def __init__(self, *, meter_provider: MeterProvider | None = None) -> None:
        self._calls = RpcMetrics("server", meter_provider=meter_provider)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Handler]], details: Any
    ) -> Handler:
        """Wrap the handler of a call."""
        handler = await continuation(details)
        if handler is None:
            unimplemented(self._calls)
            return None
        return wrapped(handler, details.method, self._wrapped)

    def _wrapped(self, behavior: Behavior, method: str, streams: bool, responds: bool) -> Behavior:
        def begin() -> RpcCall:
            return self._calls.named(method, streams=streams).start()

        if inspect.isasyncgenfunction(behavior):
            return _generating(behavior, begin)
        if inspect.iscoroutinefunction(behavior):
            return _awaiting(behavior, begin)
        return _generator(behavior, begin) if responds else _plain(behavior, begin)


def _ended(call: RpcCall, context: Any, error: BaseException | None) -> None:
    if isinstance(error, (CancelledError, GeneratorExit)):
        gone(call, context)
    else:
        over(call, context, error)


def _awaiting(behavior: Behavior, begin: Callable[[], RpcCall]) -> Behavior:
    async def run(request: Any, context: Any) -> Any:
        call = begin()
        try:
            result = await behavior(request, context)
        except BaseException as error:
            _ended(call, context, error)
            raise
        _ended(call, context, None)
        return result

    return run


def _generating(behavior: Behavior, begin: Callable[[], RpcCall]) -> Behavior:
    async def run(request: Any, context: Any) -> AsyncIterator[Any]:
        call = begin()
        try:
            async for response in behavior(request, context):
                yield response
        except BaseException as error:
            _ended(call, context, error)
            raise
        _ended(call, context, None)

    return run


def _plain(behavior: Behavior, begin: Callable[[], RpcCall]) -> Behavior:
    # A server with asyncio runs functions that are not asynchronous in threads.
    def run(request: Any, context: Any) -> Any:
        call = begin()
        try:
            result = behavior(request, context)
        except BaseException as error:
            _ended(call, context, error)
            raise
        _ended(call, context, None)
        return result

    return run


def _generator(behavior: Behavior, begin: Callable[[], RpcCall]) -> Behavior:
    def run(request: Any, context: Any) -> Any:
        call = begin()
        try:
            yield from behavior(request, context)
        except BaseException as error:
            _ended(call, context, error)
            raise
        _ended(call, context, None)

    return run
