"""Connections of DB-API 2 (PEP 249) whose cursors record what they execute."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from otel_prom_bridge.instrument.database.queries import Database

_EXECUTING = frozenset({"execute", "executemany", "executescript", "callproc"})


def instrument_connection(connection: Any, database: Database) -> Any:
    """A connection that does what this one does, and records its queries for this database.

    It is for code that uses a driver of DB-API 2 itself: ``sqlite3``, ``psycopg``, ``pymysql`` and so on.
    What is recorded already is given back as it is.
    """
    return connection if isinstance(connection, _Connection) else _Connection(connection, database)


class _Wrapper:
    """Does everything that the wrapped object does."""

    def __init__(self, wrapped: Any, database: Database) -> None:
        object.__setattr__(self, "_wrapped", wrapped)
        object.__setattr__(self, "_database", database)

    _wrapped: Any
    _database: Database

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return self._executing(found, name) if name in _EXECUTING else found

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._wrapped, name, value)

    def _executing(self, execute: Any, name: str) -> Any:
        def recorded(statement: Any, *arguments: Any, **options: Any) -> Any:
            text = statement if isinstance(statement, str) else ""
            if name == "callproc":  # it takes the name of a procedure
                text = "CALL"
            with self._database.statement(text):
                result = execute(statement, *arguments, **options)
            return self._own(result)

        return recorded

    def _own(self, result: Any) -> Any:
        """What an executing method gives: often the cursor itself, or a cursor of a connection."""
        if result is self._wrapped:
            return self
        return _Cursor(result, self._database) if hasattr(result, "fetchone") else result

    def __enter__(self) -> Self:
        self._wrapped.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        return self._wrapped.__exit__(exc_type, exc_value, traceback)


class _Cursor(_Wrapper):
    """A cursor whose executing methods are recorded."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._wrapped)

    def __next__(self) -> Any:
        return next(self._wrapped)


class _Connection(_Wrapper):
    """A connection whose cursors are recorded."""

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        return _Cursor(self._wrapped.cursor(*arguments, **options), self._database)
