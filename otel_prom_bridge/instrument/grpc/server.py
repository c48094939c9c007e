"""An interceptor for gRPC servers with threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.grpc.handlers import Behavior, Handler, gone, over, unimplemented, wrapped
from otel_prom_bridge.instrument.rpc import RpcCall, RpcMetrics
from otel_prom_bridge.recording.reports import guarded
from otel_prom_bridge.recording.streams import How, Stream


class ServerInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Records the calls of a server: ``grpc.server(…, interceptors=[ServerInterceptor()])``."""

    def __init__(self, *, meter_provider: MeterProvider | None = None) -> None:
        self._calls = RpcMetrics("server", meter_provider=meter_provider)

    def intercept_service(self, continuation: Callable[[Any], Handler], details: Any) -> Handler:
        """Wrap the handler of a call."""
        handler = continuation(details)
        if handler is None:
            unimplemented(self._calls)
            return None
        return wrapped(handler, details.method, self._wrapped)

    def _wrapped(self, behavior: Behavior, method: str, streams: bool, responds: bool) -> Behavior:
        def run(request: Any, context: Any) -> Any:
            call = self._calls.named(method, streams=streams).start()
            with guarded("the end of a call"):
                context.add_callback(partial(gone, call, context))
            try:
                result = behavior(request, context)
                if responds:
                    return Stream(result, _ignored, partial(_streamed, call, context))
            except BaseException as error:
                over(call, context, error)
                raise
            over(call, context, None)
            return result

        return run


def _ignored(_chunk: object) -> None:
    """A response went out."""


def _streamed(call: RpcCall, context: Any, error: BaseException | None, how: How) -> None:
    # What is closed or dropped is so because the call has ended, and `gone` says how.
    if how == "over":
        over(call, context, error)
