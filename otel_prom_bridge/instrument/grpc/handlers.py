"""What servers' interceptors of both kinds share: whose call it is, and how it ended.

The name of a method is a label, so there must be few. gRPC asks interceptors before it looks for a method,
and one that refuses calls, those without a token for example, does so under whatever name the client made up.
So the calls that are refused have a name only if a call of that name was served before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.rpc import METHOD, OK, UNKNOWN, RpcCall, RpcMetrics, code_name
from otel_prom_bridge.recording.reports import guarded, report

RpcHandler: TypeAlias = Any
Behavior: TypeAlias = Callable[[Any, Any], Any]
Wrap: TypeAlias = Callable[[Behavior, str, bool, bool], Behavior]

_OTHER = "_OTHER"
_MOST_METHODS = 500
# What interceptors answer in the place of a method.
_REFUSED = frozenset(
    {"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
)
_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class ServerCalls:
    """The calls of one server."""

    def __init__(self, meter_provider: MeterProvider | None, *, unreadable: str) -> None:
        """``unreadable`` is what the server answers to a request that cannot be read."""
        self._unreadable = unreadable
        self._calls = RpcMetrics("server", meter_provider=meter_provider)
        self._served: set[object] = set()

    def wrapped(self, handler: RpcHandler, method: str, wrap: Wrap) -> RpcHandler:
        """A handler that does what this one does, with its behavior wrapped."""
        kind, make = _KINDS[bool(handler.request_streaming), bool(handler.response_streaming)]
        streams = bool(handler.request_streaming or handler.response_streaming)
        behavior = wrap(getattr(handler, kind), method, streams, bool(handler.response_streaming))
        read = handler.request_deserializer
        if read is not None and not handler.request_streaming:
            read = self._reading(read, method)
        return make(behavior, request_deserializer=read, response_serializer=handler.response_serializer)

    def _reading(self, read: Callable[[bytes], Any], method: str) -> Callable[[bytes], Any]:
        """Reads a request. One that cannot be read never comes to the behavior, and its call ends here."""

        def reading(request: bytes) -> Any:
            try:
                return read(request)
            except Exception:
                self._end(self.begin(method, False), self._unreadable)
                raise

        return reading

    def begin(self, method: str, streams: bool) -> RpcCall:
        """A call begins."""
        return self._calls.named(method, streams=streams).start()

    def refused(self, code: str, error: BaseException | None = None) -> None:
        """Somebody called what may be no method.

        "When the method is not recognized, […] the attribute MUST be set to _OTHER."
        """
        call = self.begin(_OTHER, False)
        call.status(code)
        call.end(error)

    def over(self, call: RpcCall, context: Any, error: BaseException | None) -> None:
        """The behavior of a call has returned, or raised."""
        if not call.running:
            return
        code = OK if error is None else UNKNOWN
        with guarded("the status of a call"):
            said = code_name(context.code())
            if said != OK:  # if it was aborted, the exception says nothing
                code, error = said, None
        self._end(call, code, error)

    def gone(self, call: RpcCall, context: Any) -> None:
        """Nobody waits for the answer any more: the client is gone, or its time is over."""
        if not call.running:
            return
        code = "CANCELLED"
        with guarded("the deadline of a call"):
            left = context.time_remaining()
            if left is not None and left <= 0:
                code = "DEADLINE_EXCEEDED"
        self._end(call, code)

    def _end(self, call: RpcCall, code: str, error: BaseException | None = None) -> None:
        attributes = call._attributes
        name = attributes[METHOD]
        if name not in self._served:
            if code in _REFUSED:
                attributes[METHOD] = _OTHER
            elif len(self._served) < _MOST_METHODS:
                self._served.add(name)
            else:
                report(
                    ("methods", id(self)), "calls of more than %d methods: others are _OTHER", _MOST_METHODS
                )
                attributes[METHOD] = _OTHER
        call.status(code)
        call.end(error)
