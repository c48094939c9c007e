"""What servers' interceptors of both kinds share: whose call it is, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from otel_prom_bridge.instrument.rpc import OK, RpcCall, RpcMetrics, code_name
from otel_prom_bridge.recording.reports import guarded

Handler: TypeAlias = Any
Behavior: TypeAlias = Callable[[Any, Any], Any]
Wrap: TypeAlias = Callable[[Behavior, str, bool, bool], Behavior]

_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


def wrapped(handler: Handler, method: str, wrap: Wrap) -> Handler:
    """A handler that does what this one does, with its behavior wrapped."""
    kind, make = _KINDS[bool(handler.request_streaming), bool(handler.response_streaming)]
    streams = bool(handler.request_streaming or handler.response_streaming)
    behavior = wrap(getattr(handler, kind), method, streams, bool(handler.response_streaming))
    return make(
        behavior,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def unimplemented(calls: RpcMetrics) -> None:
    """Somebody called a method that there is not. Its name is the client's own, so it is not recorded.

    "When the method is not recognized, […] the attribute MUST be set to _OTHER."
    """
    calls.named("_OTHER").start().finish("UNIMPLEMENTED")


def over(call: RpcCall, context: Any, error: BaseException | None) -> None:
    """The behavior of a call has returned, or raised."""
    if not call.running:
        return
    with guarded("the status of a call"):
        code = code_name(context.code())
        if error is None:
            call.status(code)
        elif code != OK:  # it was aborted, and the exception says nothing
            call.status(code)
            error = None
    call.end(error)


def gone(call: RpcCall, context: Any) -> None:
    """Nobody waits for the answer any more: the client is gone, or its time is over."""
    if not call.running:
        return
    code = "CANCELLED"
    with guarded("the deadline of a call"):
        left = context.time_remaining()
        if left is not None and left <= 0:
            code = "DEADLINE_EXCEEDED"
    call.finish(code)
