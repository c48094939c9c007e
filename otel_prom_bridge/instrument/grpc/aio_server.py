"""An interceptor for gRPC servers with asyncio."""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc.aio
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.grpc.handlers import Behavior, RpcHandler, ServerCalls
from otel_prom_bridge.instrument.rpc import UNKNOWN


class AioServerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Records the calls of a server: ``grpc.aio.server(interceptors=[AioServerInterceptor()])``."""

    def __init__(self, *, meter_provider: MeterProvider | None = None) -> None:
        self._calls = ServerCalls(meter_provider, unreadable="UNKNOWN")

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[RpcHandler]], details: Any
    ) -> RpcHandler:
        """Wrap the handler of a call."""
        try:
            handler = await continuation(details)
        except Exception as error:
            self._calls.refused(UNKNOWN, error)
            raise
        if handler is None:
            self._calls.refused("UNIMPLEMENTED")
            return None
        return self._calls.wrapped(handler, details.method, self._wrapped)

    def _wrapped(self, behavior: Behavior, method: str, streams: bool, responds: bool) -> Behavior:
        run = _Run(self._calls, behavior, method, streams)
        if inspect.isasyncgenfunction(behavior):
            return run.asynchronous_generator
        if inspect.iscoroutinefunction(behavior):
            return run.coroutine
        # A server with asyncio runs functions that are not asynchronous in threads.
        return run.generator if responds else run.function


class _Run:
    """A behavior that is recorded. gRPC asks what kind of function it is, so each kind is a method here."""

    def __init__(self, calls: ServerCalls, behavior: Behavior, method: str, streams: bool) -> None:
        self._calls = calls
        self._behavior = behavior
        self._method = method
        self._streams = streams

    @contextmanager
    def _call(self, context: Any) -> Iterator[None]:
        call = self._calls.begin(self._method, self._streams)
        try:
            yield
        except (CancelledError, GeneratorExit):
            self._calls.gone(call, context)
            raise
        except BaseException as error:
            self._calls.over(call, context, error)
            raise
        self._calls.over(call, context, None)

    async def coroutine(self, request: Any, context: Any) -> Any:
        with self._call(context):
            return await self._behavior(request, context)

    async def asynchronous_generator(self, request: Any, context: Any) -> AsyncIterator[Any]:
        with self._call(context):
            async with aclosing(self._behavior(request, context)) as responses:
                async for response in responses:
                    yield response

    def function(self, request: Any, context: Any) -> Any:
        context = _Context(context)
        with self._call(context):
            return self._behavior(request, context)

    def generator(self, request: Any, context: Any) -> Any:
        context = _Context(context)
        with self._call(context):
            yield from self._behavior(request, context)


class _Context:
    """The context of a function that is not asynchronous. It says which code was set; gRPC's own does not."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._code: Any = None

    def code(self) -> Any:
        return self._code

    def set_code(self, code: Any) -> None:
        self._code = code
        self._context.set_code(code)

    def abort(self, code: Any, *details: Any, **options: Any) -> None:
        self._code = code
        self._context.abort(code, *details, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
