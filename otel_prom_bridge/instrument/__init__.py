"""Instruments for the things around a model: requests, calls, queries, caches, jobs, the process.

They need the OpenTelemetry API alone and know nothing of the bridge, so they work with any exporter. While
they record, nothing that they do raises into the application. They record the metrics of the semantic
conventions where there are such.
"""

from otel_prom_bridge.instrument.database.dbapi import instrument_connection
from otel_prom_bridge.instrument.database.queries import Database, PoolState, Query
from otel_prom_bridge.instrument.http.asgi import AsgiMetrics
from otel_prom_bridge.instrument.http.routes import ROUTE, DjangoRoute
from otel_prom_bridge.instrument.http.wsgi import WsgiMetrics
from otel_prom_bridge.instrument.llm_calls import LLMCallTracker
from otel_prom_bridge.instrument.process import instrument_build, instrument_process
from otel_prom_bridge.instrument.stores import (
    Cache,
    ComponentErrors,
    NotificationQueue,
    Queue,
    Storage,
    StorageOperation,
)
from otel_prom_bridge.instrument.trackers import (
    IncidentTracker,
    NotificationTracker,
    PlaybookTracker,
    Tracker,
)
from otel_prom_bridge.instrument.websockets import WebSocket, WebSockets

__all__ = [
    "AsgiMetrics",
    "WsgiMetrics",
    "DjangoRoute",
    "ROUTE",
    "WebSockets",
    "WebSocket",
    "Database",
    "Query",
    "PoolState",
    "instrument_connection",
    "Cache",
    "Queue",
    "Storage",
    "StorageOperation",
    "Tracker",
    "LLMCallTracker",
    "IncidentTracker",
    "PlaybookTracker",
    "NotificationTracker",
    "NotificationQueue",
    "ComponentErrors",
    "instrument_process",
    "instrument_build",
]
