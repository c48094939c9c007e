"""The queries and the pools of SQLAlchemy's engines, by its events.

It needs the extra ``sqlalchemy``. Give an asynchronous engine's ``sync_engine``.
"""

from __future__ import annotations

import weakref
from typing import Any

from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instrument.database.queries import Database, PoolState, Query
from otel_prom_bridge.recording.reports import guarded

try:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "instrument_engine needs SQLAlchemy: pip install 'otel-prom-bridge[sqlalchemy]'"
    ) from error

__all__ = ["instrument_engine"]

# What the conventions call SQLAlchemy's dialects, where they do not have the same name.
_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
_QUERY = "otel_prom_bridge.query"


def instrument_engine(
    engine: Engine, *, pool: str | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Record the queries, the connections and the failures to connect of an engine.

    ``pool`` is the name of its pool, by default the name of its database. A second call for one engine does
    nothing. Raises ConfigurationError for what is no engine.
    """
    engine = getattr(engine, "sync_engine", engine)
    if not isinstance(engine, Engine):
        raise ConfigurationError("engine", engine, "an engine of SQLAlchemy")
    while isinstance(proxied := getattr(engine, "_proxied", None), Engine):
        engine = proxied  # it has other options, and the events and the pool of this one
    if getattr(engine, "_otel_prom_bridge", None) is not None:
        return
    name = engine.dialect.name
    namespace = _namespace(engine)
    database = Database(_SYSTEMS.get(name, name), namespace=namespace, meter_provider=meter_provider)
    events = _Events(database)
    engine._otel_prom_bridge = events  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", events.before)
    event.listen(engine, "after_cursor_execute", events.after)
    event.listen(engine, "handle_error", events.failed)
    database.watch_pool(_reader(engine), pool=pool)


def _namespace(engine: Engine) -> str | None:
    database = engine.url.database
    # SQLite's is a path, which may say whose home it is in.
    return None if engine.dialect.name == "sqlite" else database


class _Events:
    """What is done when the engine says that something happens. Nothing of it raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def before(
        self, _conn: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any
    ) -> None:
        with guarded("the start of a query"):
            if context is not None:
                setattr(context, _QUERY, self._database.statement(statement).start())

    def after(
        self, _conn: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: Any
    ) -> None:
        with guarded("the end of a query"):
            query: Query | None = getattr(context, _QUERY, None)
            if query is not None:
                query.end()

    def failed(self, context: Any) -> None:
        with guarded("the failure of a query"):
            failure = context.original_exception
            query: Query | None = getattr(context.execution_context, _QUERY, None)
            if query is not None:
                query.end(failure)
            if context.is_disconnect or context.connection is None:
                self._database.connection_error(failure)


def _reader(engine: Engine) -> Any:
    """Reads the state of the engine's pool, as long as there is the engine. The pool may be replaced."""
    reference = weakref.ref(engine)

    def read() -> PoolState | None:
        there = reference()
        if there is None:
            return None
        pool: Any = there.pool
        if not hasattr(pool, "checkedout"):  # NullPool, StaticPool: nothing waits in them, and nobody counts
            return PoolState(used=0)
        most = None
        if hasattr(pool, "size") and getattr(pool, "_max_overflow", -1) >= 0:
            most = pool.size() + pool._max_overflow
        return PoolState(used=pool.checkedout(), idle=pool.checkedin(), most=most)

    return read
