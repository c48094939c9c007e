"""The metrics that this package records: those of the semantic conventions, then ours, in their style.

Names, units and descriptions of the first kind are those of release 1.41.0 of the conventions; a test
compares them with ``opentelemetry-semantic-conventions``.

https://opentelemetry.io/docs/specs/semconv/general/metrics/
"""

from __future__ import annotations

from otel_prom_bridge.instruments import Metric

SCOPE = "otel_prom_bridge.instrument"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

# "this metric SHOULD be specified with ExplicitBucketBoundaries of …"; one list for HTTP, another for
# databases.
HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
DATABASE_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
# The conventions advise no buckets for sizes, and those of the SDK end at 10,000 bytes.
SIZES = tuple(float(100 * 10**step) for step in range(6))
# Of work that takes from milliseconds to hours: incidents, playbooks, jobs.
WORK_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)


def _seconds(name: str, description: str, buckets: tuple[float, ...] = HTTP_SECONDS) -> Metric:
    return Metric(name, "histogram", "s", description, buckets)


def _active(name: str, unit: str, description: str) -> Metric:
    return Metric(name, "up_down_counter", f"{{{unit}}}", description)


# HTTP servers.
HTTP_DURATION = _seconds("http.server.request.duration", "Duration of HTTP server requests.")
HTTP_REQUEST_SIZE = Metric(
    "http.server.request.body.size", "histogram", "By", "Size of HTTP server request bodies.", SIZES
)
HTTP_RESPONSE_SIZE = Metric(
    "http.server.response.body.size", "histogram", "By", "Size of HTTP server response bodies.", SIZES
)
HTTP_ACTIVE = _active("http.server.active_requests", "request", "Number of active HTTP server requests.")
# A histogram that was sampled no longer says how many requests there were. Its count and this counter do.
HTTP_UNSAMPLED = Metric(
    "http.server.unsampled_requests",
    "counter",
    "{request}",
    "Requests that sampling left out of the histograms.",
)
HTTP_CONNECTIONS = _active(
    "http.server.active_connections",
    "connection",
    "Connections of clients on which a request or a WebSocket goes on.",
)

# gRPC.
RPC_SERVER_DURATION = _seconds(
    "rpc.server.call.duration", "Measures the duration of an incoming Remote Procedure Call (RPC)."
)
RPC_CLIENT_DURATION = _seconds(
    "rpc.client.call.duration", "Measures the duration of an outgoing Remote Procedure Call (RPC)."
)
RPC_SERVER_STREAMS = _active("rpc.server.active_streams", "stream", "Calls served that stream and go on.")
RPC_CLIENT_STREAMS = _active("rpc.client.active_streams", "stream", "Calls made that stream and go on.")

# Databases.
DB_DURATION = _seconds(
    "db.client.operation.duration", "Duration of database client operations.", DATABASE_SECONDS
)
DB_CONNECTIONS = _active(
    "db.client.connection.count",
    "connection",
    "The number of connections that are currently in state described by the `state` attribute.",
)
DB_MOST_CONNECTIONS = _active(
    "db.client.connection.max", "connection", "The maximum number of open connections allowed."
)
DB_CONNECTION_ERRORS = Metric(
    "db.client.connection.errors", "counter", "{error}", "Connections that could not be made, or broke."
)

# What the conventions have no metric for. WebSockets, caches, storage and queues.
WEBSOCKETS = Metric("ws.connections", "counter", "{connection}", "WebSocket connections that were accepted.")
WEBSOCKETS_ACTIVE = _active("ws.connections.current", "connection", "WebSocket connections that are open.")
WEBSOCKET_RECEIVED = Metric(
    "ws.messages.received", "counter", "{message}", "Messages from WebSocket clients."
)
WEBSOCKET_SENT = Metric("ws.messages.sent", "counter", "{message}", "Messages to WebSocket clients.")
CACHE_HITS = Metric("cache.hits", "counter", "{hit}", "Lookups that found something in a cache.")
CACHE_MISSES = Metric("cache.misses", "counter", "{miss}", "Lookups that found nothing in a cache.")
CACHE_SIZE = _active("cache.size", "entry", "What a cache holds.")
STORAGE_DURATION = _seconds(
    "storage.operation.duration", "Duration of operations of a storage.", DATABASE_SECONDS
)
STORAGE_OPERATION_SIZE = Metric(
    "storage.operation.size", "histogram", "By", "Bytes that an operation of a storage moved.", SIZES
)
STORAGE_SIZE = Metric("storage.size", "up_down_counter", "By", "Bytes that a storage holds.")
QUEUE_SIZE = _active("queue.size", "item", "What waits in a queue.")

# Incidents, playbooks, notifications, errors. An execution of a playbook is a workflow, which has a
# convention.
INCIDENT_DURATION = _seconds(
    "incident.processing.duration", "Duration of the processing of incidents.", WORK_SECONDS
)
INCIDENTS_ACTIVE = _active("incidents.active", "incident", "Incidents that are being processed.")
INCIDENTS_DEDUPLICATED = Metric(
    "incidents.deduplicated", "counter", "{incident}", "Incidents that were known already."
)
INCIDENTS_CORRELATED = Metric(
    "incidents.correlated", "counter", "{incident}", "Incidents that belong to another one."
)
INCIDENTS_ESCALATED = Metric("incidents.escalated", "counter", "{incident}", "Escalations of incidents.")
PLAYBOOKS_ACTIVE = _active("playbook.executions.active", "execution", "Executions of playbooks that go on.")
NOTIFICATION_DURATION = _seconds("notification.duration", "Duration of deliveries of notifications.")
NOTIFICATION_QUEUE = _active("notification.queue.size", "notification", "Notifications that wait.")
COMPONENT_ERRORS = Metric("errors", "counter", "{error}", "Errors of the components of a service.")

# The process.
PROCESS_CPU = Metric(
    "process.cpu.time", "counter", "s", "Total CPU seconds broken down by different CPU modes."
)
PROCESS_MEMORY = Metric(
    "process.memory.usage", "up_down_counter", "By", "The amount of physical memory in use."
)
PROCESS_FILES = Metric(
    "process.unix.file_descriptor.count",
    "up_down_counter",
    "{file_descriptor}",
    "Number of UNIX file descriptors in use by the process.",
)
PROCESS_THREADS = Metric("process.thread.count", "up_down_counter", "{thread}", "Process threads count.")
PROCESS_UPTIME = Metric("process.uptime", "gauge", "s", "The time the process has been running.")
PROCESS_START = Metric("process.start_time", "gauge", "s", "When the process began, in seconds since 1970.")
BUILD_INFO = Metric("build.info", "gauge", "", "What was built, from which commit and when. The value is 1.")
