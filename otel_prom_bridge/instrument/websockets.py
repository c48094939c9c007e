"""WebSockets: how many were opened, how many are open, and the messages of both directions."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instrument.scope import Scope, scope_of
from otel_prom_bridge.recording.active import Begun
from otel_prom_bridge.recording.measurements import said
from otel_prom_bridge.recording.operations import Operation

_TYPE = "message_type"


class WebSockets:
    """Records WebSocket connections. :class:`AsgiMetrics` does so for ASGI applications.

    >>> with WebSockets().connection() as connection:
    ...     connection.received("text")
    ...     connection.sent("binary")
    """

    def __init__(self, *, meter_provider: MeterProvider | None = None) -> None:
        self._scope = scope_of(meter_provider)
        self._scope.active(conventions.WEBSOCKETS_ACTIVE)

    def connection(self) -> WebSocket:
        """A connection. It begins with ``with``, ``async with`` or :meth:`start`, once it is accepted."""
        return WebSocket(self._scope)


class WebSocket(Operation):
    """One connection, made by :meth:`WebSockets.connection`."""

    __slots__ = ("_going_on", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._going_on: Begun | None = None

    def received(self, type: str = "text", count: int = 1) -> None:
        """Messages came. ``type`` is ``text``, ``binary``, or one of few names of the application's own."""
        self._scope.record(conventions.WEBSOCKET_RECEIVED, count, {_TYPE: said(type)}, self._context)

    def sent(self, type: str = "text", count: int = 1) -> None:
        """Messages went."""
        self._scope.record(conventions.WEBSOCKET_SENT, count, {_TYPE: said(type)}, self._context)

    def _on_start(self) -> None:
        self._scope.record(conventions.WEBSOCKETS, 1, {}, self._context)
        self._going_on = self._scope.active(conventions.WEBSOCKETS_ACTIVE).begin({})

    def _on_end(self, took: float, error: str | None) -> None:
        self._scope.active(conventions.WEBSOCKETS_ACTIVE).end(self._going_on)
