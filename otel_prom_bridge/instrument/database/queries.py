"""Queries of a database, and its connections.

https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, Observation
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instrument.database.statements import read_statement
from otel_prom_bridge.instrument.scope import Scope, scope_of
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import clean, said
from otel_prom_bridge.recording.operations import (
    ERROR_TYPE,
    OTHER_ERROR,
    Duration,
    Failure,
    error_type,
    failure_of,
    seconds,
    settle,
)
from otel_prom_bridge.recording.reports import guarded

_SYSTEM = "db.system.name"
_NAMESPACE = "db.namespace"
_OPERATION = "db.operation.name"
_TABLE = "db.collection.name"
_STATUS = "db.response.status_code"
_POOL = "db.client.connection.pool.name"
_STATE = "db.client.connection.state"
# Where drivers keep the code of an error: psycopg, psycopg2, asyncpg, sqlite3.
_CODES = ("sqlstate", "pgcode", "sqlite_errorname")
_LONGEST_CODE = 40


class PoolState(NamedTuple):
    """The connections of a pool: those that somebody has, those that wait, and the most there can be."""

    used: int
    idle: int = 0
    most: int | None = None


ReadPool: TypeAlias = Callable[[], PoolState | None]


class Database:
    """Records the queries of one database, in ``db.client.operation.duration`` [s], and its connections.

    ``system`` is a name of the conventions, such as ``postgresql`` or ``sqlite``. ``namespace`` is the name
    of the database. Without a ``meter_provider`` the global one is used.

    >>> database = Database("postgresql", namespace="shop")
    >>> with database.query("SELECT", "orders"):
    ...     pass
    """

    def __init__(
        self, system: str, *, namespace: str | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._scope = scope_of(meter_provider)
        self._attributes = clean({_SYSTEM: system, _NAMESPACE: namespace})
        self._pool = namespace or system

    def query(self, operation: str, table: str | None = None, *, context: Context | None = None) -> Query:
        """A query, to be run with ``with`` or ``async with``, or to decorate the function that makes it.

        ``operation`` and ``table`` become labels: never put SQL into them. :meth:`statement` reads SQL.
        """
        said = operation.upper() if isinstance(operation, str) else operation
        return Query(self._scope, {**self._attributes, **clean({_OPERATION: said, _TABLE: table})}, context)

    def statement(self, sql: str, *, context: Context | None = None) -> Query:
        """The same of a statement in SQL. Its verb and its first table are all that is recorded of it."""
        found = read_statement(sql) if isinstance(sql, str) else read_statement("")
        return self.query(found.operation, found.table, context=context)

    def record_query(
        self,
        operation: str,
        table: str | None,
        duration: Duration,
        *,
        error: Failure = None,
        context: Context | None = None,
    ) -> None:
        """Record a query that has ended after ``duration``, in seconds or as a timedelta."""
        settle()
        with guarded("a query"):
            query = self.query(operation, table, context=context)
            query._record(seconds(duration), failure_of(error), context, error)

    def connection_error(self, failure: Failure) -> None:
        """A connection could not be made, or broke: ``db.client.connection.errors``."""
        said = error_type(failure) or OTHER_ERROR
        self._scope.record(conventions.DB_CONNECTION_ERRORS, 1, {**self._attributes, ERROR_TYPE: said})

    def connections(
        self, *, used: int, idle: int = 0, most: int | None = None, pool: str | None = None
    ) -> None:
        """Say how many connections there are now. :meth:`watch_pool` asks for that instead."""
        with guarded("the connections of a pool"):
            name = {_POOL: said(pool or self._pool)}
            active = self._scope.active(conventions.DB_CONNECTIONS)
            active.say(used, {**name, _STATE: "used"})
            active.say(idle, {**name, _STATE: "idle"})
            if most is not None:
                self._scope.active(conventions.DB_MOST_CONNECTIONS).say(most, name)

    def watch_pool(self, read: ReadPool, *, pool: str | None = None) -> None:
        """Read the state of a pool whenever metrics are collected, until ``read`` gives None."""
        name: dict[str, AttributeValue] = {_POOL: said(pool or self._pool)}

        def connections() -> list[Observation] | None:
            state = read()
            if state is None:
                return None
            return [
                Observation(state.used, {**name, _STATE: "used"}),
                Observation(state.idle, {**name, _STATE: "idle"}),
            ]

        def most() -> list[Observation] | None:
            state = read()
            if state is None:
                return None
            return [] if state.most is None else [Observation(state.most, name)]

        self._scope.observe(conventions.DB_CONNECTIONS, connections)
        self._scope.observe(conventions.DB_MOST_CONNECTIONS, most)


class Query(DecoratingOperation):
    """One query, made by :meth:`Database.query`."""

    __slots__ = ("_attributes", "_failure", "_scope")

    def __init__(self, scope: Scope, attributes: dict[str, AttributeValue], context: Context | None) -> None:
        self._scope = scope
        self._attributes = attributes
        super().__init__(context=context)

    def _reset(self) -> None:
        super()._reset()
        self._failure: Failure = None

    def end(self, error: Failure = None) -> None:
        """End it now, see :meth:`Operation.end`."""
        self._failure = error
        super().end(error)

    def _on_end(self, took: float, error: str | None) -> None:
        self._record(took, error, self._context, self._failure)
        self._failure = None  # its traceback holds the frames of the application

    def _record(self, took: float, error: str | None, context: Context | None, failure: Failure) -> None:
        attributes = self._attributes
        if error is not None:
            attributes = {**attributes, ERROR_TYPE: error}
            code = next((found for name in _CODES if (found := getattr(failure, name, None))), None)
            if isinstance(code, str) and len(code) < _LONGEST_CODE:
                attributes[_STATUS] = code
        self._scope.record(conventions.DB_DURATION, took, attributes, context)
