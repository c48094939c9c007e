"""A gRPC service without generated code: four kinds of methods that take and give bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc

SERVICE = "test.Incidents"


def _asked(request: bytes, context: Any) -> bytes:
    """Does what the request says."""
    if request == b"abort":
        context.abort(grpc.StatusCode.NOT_FOUND, "there is none")
    if request == b"code":
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
    if request == b"raise":
        raise KeyError("x")
    if request == b"slow":
        for _ in range(100):
            if not context.is_active():
                break
            time.sleep(0.02)
    return request


class Service:
    """The behaviors of a server with threads."""

    def one(self, request: bytes, context: Any) -> bytes:
        return _asked(request, context)

    def many(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield b"1"
        yield _asked(request, context)

    def collect(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"".join(_asked(request, context) for request in requests)

    def talk(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield _asked(request, context)


async def _asked_async(request: bytes, context: Any) -> bytes:
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "there is none")
    if request == b"code":
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
    if request == b"raise":
        raise KeyError("x")
    if request == b"slow":
        await asyncio.sleep(5)
    return request


class AioService:
    """The behaviors of a server with asyncio."""

    async def one(self, request: bytes, context: Any) -> bytes:
        return await _asked_async(request, context)

    async def many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        yield await _asked_async(request, context)

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([await _asked_async(request, context) async for request in requests])

    async def talk(self, requests: AsyncIterator[bytes], context: Any) -> None:
        # The other way to write such a behavior: it reads and writes by itself.
        async for request in requests:
            await context.write(await _asked_async(request, context))


def handlers(service: Any) -> Any:
    """The handlers of a service."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "One": grpc.unary_unary_rpc_method_handler(service.one),
            "Many": grpc.unary_stream_rpc_method_handler(service.many),
            "Collect": grpc.stream_unary_rpc_method_handler(service.collect),
            "Talk": grpc.stream_stream_rpc_method_handler(service.talk),
        },
    )
