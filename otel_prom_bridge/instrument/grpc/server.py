"""An interceptor for gRPC servers with threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.grpc.handlers import Behavior, RpcHandler, ServerCalls
from otel_prom_bridge.instrument.rpc import UNKNOWN, RpcCall
from otel_prom_bridge.recording.reports import guarded
from otel_prom_bridge.recording.streams import How, Stream


class ServerInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Records the calls of a server: ``grpc.server(…, interceptors=[ServerInterceptor()])``."""

    def __init__(self, *, meter_provider: MeterProvider | None = None) -> None:
        self._calls = ServerCalls(meter_provider, unreadable="INTERNAL")

    def intercept_service(self, continuation: Callable[[Any], RpcHandler], details: Any) -> RpcHandler:
        """Wrap the handler of a call."""
        try:
            handler = continuation(details)
        except Exception as error:
            self._calls.refused(UNKNOWN, error)
            raise
        if handler is None:
            self._calls.refused("UNIMPLEMENTED")
            return None
        return self._calls.wrapped(handler, details.method, self._wrapped)

    def _wrapped(self, behavior: Behavior, method: str, streams: bool, responds: bool) -> Behavior:
        calls = self._calls

        def run(request: Any, context: Any) -> Any:
            call = calls.begin(method, streams)
            with guarded("the end of a call"):
                context.add_callback(partial(calls.gone, call, context))
            try:
                result = behavior(request, context)
                if responds:
                    return Stream(result, _ignored, partial(self._streamed, call, context))
            except BaseException as error:
                calls.over(call, context, error)
                raise
            calls.over(call, context, None)
            return result

        return run

    def _streamed(self, call: RpcCall, context: Any, error: BaseException | None, how: How) -> None:
        # What is closed or dropped is so because the call has ended, and `gone` says how.
        if how == "over":
            self._calls.over(call, context, error)


def _ignored(_chunk: object) -> None:
    """A response went out."""
