"""Calls of gRPC, for interceptors and for code that has none.

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instrument.scope import scope_of
from otel_prom_bridge.recording.active import Begun
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import said
from otel_prom_bridge.recording.operations import ERROR_TYPE, is_cancelled
from otel_prom_bridge.recording.reports import report

RpcSide: TypeAlias = Literal["server", "client"]

METHOD = "rpc.method"
OK = "OK"
UNKNOWN = "UNKNOWN"
# The codes in the order of their numbers.
CODES = (
    *(OK, "CANCELLED", UNKNOWN, "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
# Of a server the other codes are answers that it meant to give.
_ERRORS_OF_SERVERS = frozenset(
    {UNKNOWN, "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_ERRORS = {"server": _ERRORS_OF_SERVERS, "client": frozenset(CODES) - {OK}}
_METRICS = {
    "server": (conventions.RPC_SERVER_DURATION, conventions.RPC_SERVER_STREAMS),
    "client": (conventions.RPC_CLIENT_DURATION, conventions.RPC_CLIENT_STREAMS),
}


def code_name(code: object) -> str:
    """The name of a status code, which may come as a member of grpc's enumeration, a number or a name.

    >>> code_name(5), code_name("NOT_FOUND"), code_name("nonsense")
    ('NOT_FOUND', 'NOT_FOUND', 'UNKNOWN')
    """
    if code is None:
        return OK
    if isinstance(code, Enum):
        code = code.name
    if isinstance(code, int) and 0 <= code < len(CODES):
        return CODES[code]
    return code if isinstance(code, str) and code in CODES else UNKNOWN


class RpcMetrics:
    """Records the calls of a gRPC server or client, in ``rpc.server.call.duration`` [s] or the client's.

    Calls that stream count in ``rpc.server.active_streams`` while they go on, or in the client's.

    >>> calls = RpcMetrics("server")
    >>> with calls.call("incidents.IncidentService", "CreateIncident") as call:
    ...     call.status("NOT_FOUND")
    """

    def __init__(self, side: RpcSide = "server", *, meter_provider: MeterProvider | None = None) -> None:
        if side not in list(_METRICS):  # a list, because the value may be anything and have no hash
            raise ConfigurationError("side", side, '"server" or "client"')
        scope = scope_of(meter_provider)
        self._side = side
        self._record = scope.record
        self._duration, streams = _METRICS[side]
        self._streams = scope.active(streams)

    def call(
        self, service: str, method: str, *, streams: bool = False, context: Context | None = None
    ) -> RpcCall:
        """A call, to be run with ``with`` or ``async with``, by hand, or to decorate what handles it."""
        name = f"{said(service)}/{said(method)}" if service else method
        return self.named(name, streams=streams, context=context)

    def named(self, name: object, *, streams: bool = False, context: Context | None = None) -> RpcCall:
        """The same for a full name, as gRPC has it: ``/incidents.IncidentService/CreateIncident``."""
        text = name.decode(errors="replace") if isinstance(name, bytes) else said(name)
        return RpcCall(self, text.removeprefix("/"), streams=streams, context=context)


class RpcCall(DecoratingOperation):
    """One call, made by :meth:`RpcMetrics.call`."""

    __slots__ = ("_attributes", "_calls", "_code", "_going_on", "_streams_it")

    def __init__(self, calls: RpcMetrics, name: str, *, streams: bool, context: Context | None) -> None:
        self._calls = calls
        self._attributes: dict[str, AttributeValue] = {"rpc.system.name": "grpc", METHOD: name}
        self._streams_it = streams
        super().__init__(context=context)

    def _reset(self) -> None:
        super()._reset()
        self._code: str | None = None
        self._going_on: Begun | None = None

    def status(self, code: object) -> None:
        """Say with which status code the call ends. It goes on until it is ended."""
        run = self._current()
        if run._started and not run.running:
            report("late status", "the status of a call that has ended is not recorded")
        run._code = code_name(code)

    def success(self) -> None:
        """The call has succeeded, and ends."""
        self.finish(OK)

    def error(self, code: object = UNKNOWN) -> None:
        """The call has failed with this status code, and ends."""
        self.finish(code)

    def finish(self, code: object) -> None:
        """The call ends with this status code."""
        run = self._current()
        if run._can_end():
            run._code = code_name(code)
            run.end()

    def _on_start(self) -> None:
        if self._streams_it:
            self._going_on = self._calls._streams.begin(self._attributes)

    def _on_end(self, took: float, error: str | None) -> None:
        self._calls._streams.end(self._going_on)
        code = self._code
        if code is None:
            code = OK if error is None else "CANCELLED" if is_cancelled(error) else UNKNOWN
        attributes = {**self._attributes, "rpc.response.status_code": code}
        if code in _ERRORS[self._calls._side]:
            attributes[ERROR_TYPE] = error if error is not None and code == UNKNOWN else code
        self._calls._record(self._calls._duration, took, attributes, self._context)
