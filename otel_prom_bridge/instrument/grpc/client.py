"""An interceptor for gRPC clients with threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.rpc import RpcCall, RpcMetrics
from otel_prom_bridge.recording.reports import guarded


class ClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Records the calls of a channel: ``grpc.intercept_channel(channel, ClientInterceptor())``."""

    def __init__(self, *, meter_provider: MeterProvider | None = None) -> None:
        self._calls = RpcMetrics("client", meter_provider=meter_provider)

    def _call(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any, streams: bool
    ) -> Any:
        call = self._calls.named(details.method, streams=streams).start()
        try:
            outcome = continuation(details, request)
        except BaseException as error:
            call.end(error)
            raise
        with guarded("the end of a call"):
            _watch(call, outcome)
        return outcome

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Record a call with one request and one answer."""
        return self._call(continuation, client_call_details, request, False)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Record a call with one request and many answers."""
        return self._call(continuation, client_call_details, request, True)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Record a call with many requests and one answer."""
        return self._call(continuation, client_call_details, request_iterator, True)

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Record a call with many requests and many answers."""
        return self._call(continuation, client_call_details, request_iterator, True)


def _watch(call: RpcCall, outcome: Any) -> None:
    """End the call when what the channel gave for it is done.

    gRPC cancels a call that the application drops. ``add_done_callback`` would keep it from being dropped, so
    of a call that goes on only its state is kept. That is private to gRPC; where it is not there, as with the
    calls of other interceptors, ``add_done_callback`` has to do.
    """
    state: Any = getattr(outcome, "_state", None)
    if outcome.done():
        _ended(call, outcome.code)
    elif not hasattr(state, "code"):
        outcome.add_done_callback(lambda done: _ended(call, done.code))
    elif not outcome.add_callback(partial(_ended, call, lambda: state.code)):
        _ended(call, outcome.code)  # it was done in the meantime


def _ended(call: RpcCall, code: Callable[[], Any]) -> None:
    with guarded("the status of a call"):
        call.status(code())
    call.end()
