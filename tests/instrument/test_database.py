"""Queries: what statements say of themselves, DB-API connections, and SQLAlchemy's engines."""

from __future__ import annotations

import asyncio
import datetime
import gc
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from genai_points import Recorded
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instrument import Database, PoolState, instrument_connection
from otel_prom_bridge.instrument.database.statements import _read, read_statement
from otel_prom_bridge.instrument.sqlalchemy import instrument_engine

DURATION = "db.client.operation.duration"
COUNT = "db.client.connection.count"
MOST = "db.client.connection.max"
ERRORS = "db.client.connection.errors"


@pytest.mark.parametrize(
    ("sql", "operation", "table"),
    [
        ("SELECT * FROM users", "SELECT", "users"),
        ("select id from shop.users u where name = 'x'", "SELECT", "shop.users"),
        ('SELECT 1 FROM "Users" JOIN orders ON true', "SELECT", "Users"),
        ("SELECT * FROM `shop`.`users`", "SELECT", "shop.users"),
        ("SELECT * FROM [dbo].[Users]", "SELECT", "dbo.Users"),
        ("INSERT INTO orders (a) VALUES ('b FROM secret')", "INSERT", "orders"),
        ("INSERT INTO a SELECT * FROM b", "INSERT", "a"),
        ("UPDATE ONLY accounts SET x = 1", "UPDATE", "accounts"),
        ("DELETE FROM sessions WHERE id = 7", "DELETE", "sessions"),
        ("MERGE INTO stock USING new ON true", "MERGE", "stock"),
        ("CREATE TABLE IF NOT EXISTS logs (id int)", "CREATE", "logs"),
        ("DROP TABLE IF EXISTS logs", "DROP", "logs"),
        ("TRUNCATE TABLE logs", "TRUNCATE", "logs"),
        ("/* app: x FROM y */ -- FROM z\nSELECT 1 FROM t", "SELECT", "t"),
        ("SELECT EXTRACT(year FROM created) FROM events", "SELECT", "events"),
        ("SELECT a FROM (SELECT b FROM inner_table) q", "SELECT", "inner_table"),
        ("SELECT a IS DISTINCT FROM b FROM t", "SELECT", "t"),
        ("SELECT 1 FROM jobs FOR UPDATE SKIP LOCKED", "SELECT", "jobs"),
        ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", "INSERT", "t"),
        ("WITH r AS (SELECT * FROM orders) SELECT * FROM r", "SELECT", "orders"),
        ("WITH r AS (SELECT 1) INSERT INTO t SELECT * FROM r", "INSERT", "t"),
        ("SELECT $$ FROM secret $$ , E'it\\'s FROM x' FROM t", "SELECT", "t"),
        ("SELECT 'it''s FROM x'", "SELECT", None),
        ('SELECT "from secret"', "SELECT", None),
        ("BEGIN", "BEGIN", None),
        ("PRAGMA table_info(users)", "PRAGMA", None),
        ("(SELECT 1 FROM t)", "SELECT", "t"),
        ("SELECT 1 FROM generate_series(1, 2)", "SELECT", None),
        ("hunter2 is my password", "_OTHER", None),
        ("hunter2 comes FROM nowhere", "_OTHER", None),
        ("SELECT 1 FROM 'literal'", "SELECT", None),
        ('SELECT 1 FROM "a secret with spaces"', "SELECT", None),
        ("SELECT 'unfinished FROM x", "SELECT", None),
        ("COPY users FROM STDIN", "COPY", "users"),
        ("COPY (SELECT * FROM orders) TO STDOUT", "COPY", "orders"),
        ("FETCH 10 FROM cursor", "FETCH", None),
        (r"SELECT 'it\'s FROM secret' FROM t", "SELECT", None),
        (r'SELECT "a\" FROM secret" FROM t', "SELECT", None),
        (r"SELECT 'it\'' , 'x FROM secret' FROM t", "SELECT", None),
        (r"INSERT INTO t VALUES ('it\'s FROM secret')", "INSERT", "t"),
        ("", "_OTHER", None),
        ("-- only a comment", "_OTHER", None),
    ],
)
def test_statements(sql: str, operation: str, table: str | None) -> None:
    """The verb, and the first table."""
    assert read_statement(sql) == (operation, table)


def test_long_statements_are_not_kept() -> None:
    """What is remembered of a statement is no longer than what is read of it."""
    _read.cache_clear()
    start = "INSERT INTO t VALUES (1)" + ", (1)" * 1000
    for number in range(20):
        assert read_statement(f"{start}, ({number})") == ("INSERT", "t")
    assert _read.cache_info().currsize == 1


@given(st.text(alphabet="abc'\" \\;-/*$()FROM\n", max_size=40))
def test_no_literal_gets_out(literal: str) -> None:
    """Whatever stands in a literal, a comment or a dollar-quoted text, a statement says the same."""
    quoted = "'" + literal.replace("'", "''") + "'"
    # MySQL reads a backslash before a quote in another way, so nothing behind that is taken for a table.
    table = None if "\\'" in quoted or '\\"' in quoted else "t"
    assert read_statement(f"SELECT {quoted}, 1 FROM t WHERE x = {quoted}") == ("SELECT", table)
    if "\n" not in literal:
        assert read_statement(f"SELECT 1 -- {literal}\nFROM t") == ("SELECT", "t")
    if "$" not in literal:
        assert read_statement(f"SELECT $q${literal}$q$ FROM t") == ("SELECT", "t")


@given(st.text(max_size=200))
def test_any_text_is_read(sql: str) -> None:
    """Nothing raises, and the table is a word that stood there."""
    operation, table = read_statement(sql)
    assert operation.isupper()
    assert table is None or table.split(".")[0] in sql


def test_queries(recorded: Recorded) -> None:
    """As blocks, decorators and afterwards."""
    database = Database("postgresql", namespace="shop", meter_provider=recorded.provider)
    with database.query("select", "orders"):
        pass

    @database.query("INSERT", "orders")
    async def insert() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(insert())
    database.record_query("UPDATE", "orders", datetime.timedelta(seconds=2), error="unique_constraint")
    assert recorded.errors(DURATION) == [None, "TimeoutError", "unique_constraint"]
    assert dict(recorded.point(DURATION, db__operation__name="SELECT").attributes) == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.operation.name": "SELECT",
        "db.collection.name": "orders",
    }
    assert recorded.point(DURATION, db__operation__name="UPDATE").sum == 2


def test_codes_of_errors(recorded: Recorded) -> None:
    """Drivers have the code of an error in different places."""

    class UniqueError(Exception):
        sqlstate = "23505"

    with (
        pytest.raises(UniqueError),
        Database("postgresql", meter_provider=recorded.provider).query("INSERT"),
    ):
        raise UniqueError
    assert recorded.point(DURATION).attributes["db.response.status_code"] == "23505"


def test_connections(recorded: Recorded) -> None:
    """Said by hand, and read when metrics are collected, until there is no pool any more."""
    database = Database("postgresql", namespace="shop", meter_provider=recorded.provider)
    database.connections(used=3, idle=2, most=10)
    assert recorded.point(COUNT, db__client__connection__state="used").value == 3
    assert recorded.point(COUNT, db__client__connection__state="idle").value == 2
    assert recorded.point(MOST).value == 10
    states: list[PoolState | None] = [PoolState(used=1, idle=4, most=5)]
    other = Recorded()
    Database("postgresql", meter_provider=other.provider).watch_pool(lambda: states[0], pool="main")
    assert other.point(COUNT, db__client__connection__state="idle").value == 4
    assert dict(other.point(MOST).attributes) == {"db.client.connection.pool.name": "main"}
    states[0] = None
    assert other.points(COUNT) == []
    database.connection_error(ConnectionRefusedError())
    assert recorded.point(ERRORS).attributes["error.type"] == "ConnectionRefusedError"


def test_dbapi(recorded: Recorded) -> None:
    """A connection of sqlite3 does all that it did, and records."""
    database = Database("sqlite", meter_provider=recorded.provider)
    connection = instrument_connection(sqlite3.connect(":memory:"), database)
    assert instrument_connection(connection, database) is connection
    connection.row_factory = sqlite3.Row
    with connection:
        connection.execute("CREATE TABLE users (name text UNIQUE)")
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO users VALUES (?)", [("ann",), ("bob",)])
        assert cursor.rowcount == 2
        found = cursor.execute("SELECT name FROM users WHERE name = 'ann'")
        assert [row["name"] for row in found] == ["ann"]
        assert found.fetchone() is None
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO users VALUES ('ann')")
    connection.close()
    found = {
        (p.attributes["db.operation.name"], p.attributes.get("error.type")) for p in recorded.points(DURATION)
    }
    assert found == {
        ("CREATE", None),
        ("INSERT", None),
        ("SELECT", None),
        ("INSERT", "sqlite3.IntegrityError"),
    }
    codes = {p.attributes.get("db.response.status_code") for p in recorded.points(DURATION)}
    assert codes == {None, "SQLITE_CONSTRAINT_UNIQUE"}


def test_dbapi_procedures(recorded: Recorded) -> None:
    """The name of a procedure is no statement."""

    class Cursor:
        def callproc(self, name: str, parameters: tuple[int, ...]) -> tuple[int, ...]:
            return parameters

    class Connection:
        def cursor(self) -> Cursor:
            return Cursor()

    connection = instrument_connection(Connection(), Database("mysql", meter_provider=recorded.provider))
    assert connection.cursor().callproc("select_x", (1, 2)) == (1, 2)
    assert recorded.point(DURATION).attributes["db.operation.name"] == "CALL"


def no_secret(recorded: Recorded, *secrets: str) -> None:
    """None of these is in a name or a value of an attribute."""
    said = str([dict(p.attributes) for m in recorded.metrics().values() for p in m.data.data_points])
    assert not [secret for secret in secrets if secret in said]


def test_sqlalchemy(recorded: Recorded, tmp_path: Path) -> None:
    """An engine records its queries, its errors by kind and its pool, and no text of its statements."""
    engine = create_engine(
        f"sqlite:///{tmp_path}/hunter2.db", poolclass=QueuePool, pool_size=3, max_overflow=2
    )
    for _ in range(2):  # the second call does nothing
        instrument_engine(engine, meter_provider=recorded.provider)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (name text UNIQUE)"))
        connection.execute(text("INSERT INTO users VALUES ('hunter2')"))
        assert recorded.point(COUNT, db__client__connection__state="used").value == 1
    assert recorded.point(COUNT, db__client__connection__state="used").value == 0
    assert recorded.point(COUNT, db__client__connection__state="idle").value == 1
    assert recorded.point(MOST).value == 5
    with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            connection.execute(text("INSERT INTO users VALUES ('hunter2')"))
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT hunter2 FROM nowhere"))
    found = sorted(
        (
            p.attributes["db.operation.name"],
            p.attributes["db.collection.name"],
            p.attributes.get("error.type"),
        )
        for p in recorded.points(DURATION)
        if "error.type" in p.attributes
    )
    assert found == [
        ("INSERT", "users", "sqlite3.IntegrityError"),
        ("SELECT", "nowhere", "sqlite3.OperationalError"),
    ]
    assert recorded.count(DURATION) == 4
    assert recorded.points(ERRORS) == []
    no_secret(recorded, "hunter2", "VALUES")


def test_sqlalchemy_with_asyncio(recorded: Recorded, tmp_path: Path) -> None:
    """Queries of an asynchronous engine, side by side, one that fails and one whose task is cancelled."""

    async def run() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'data'}")
        instrument_engine(engine, meter_provider=recorded.provider)
        instrument_engine(engine.sync_engine, meter_provider=recorded.provider)

        async def ask(sql: str) -> None:
            async with engine.connect() as connection:
                await connection.execute(text(sql))

        await asyncio.gather(*(ask("SELECT 1 FROM sqlite_master") for _ in range(3)))
        with pytest.raises(OperationalError):
            await ask("SELECT 1 FROM nowhere")
        long = (
            "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n LIMIT 1000000) SELECT 1 FROM n"
        )
        task = asyncio.create_task(ask(long))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.dispose()

    asyncio.run(run())
    assert recorded.count(DURATION) == 5
    assert recorded.point(DURATION, db__collection__name="sqlite_master").count == 3
    assert recorded.errors(DURATION)[-2:] == ["asyncio.exceptions.CancelledError", "sqlite3.OperationalError"]


def test_sqlalchemy_engines_with_other_options(recorded: Recorded) -> None:
    """They share events and pool with the engine that they are made of, and are recorded with it, once."""
    engine = create_engine("sqlite://", poolclass=QueuePool)
    other = engine.execution_options(isolation_level="AUTOCOMMIT")
    for each in (engine, other, other.execution_options(x=1)):
        instrument_engine(each, meter_provider=recorded.provider)
    with other.connect() as connection:
        connection.execute(text("SELECT 1 FROM sqlite_master"))
    assert recorded.count(DURATION) == 1
    assert recorded.errors(DURATION) == [None]
    assert recorded.point(COUNT, db__client__connection__state="idle").value == 1


def test_sqlalchemy_cannot_connect(recorded: Recorded, tmp_path: Path) -> None:
    """Failures to connect are counted, and are no queries."""
    engine = create_engine(f"sqlite:///{tmp_path}/no/such/folder.db", poolclass=NullPool)
    instrument_engine(engine, meter_provider=recorded.provider)
    with pytest.raises(OperationalError):
        engine.connect()
    assert recorded.point(ERRORS).attributes["error.type"] == "sqlite3.OperationalError"
    assert recorded.count(DURATION) == 0


def test_sqlalchemy_engines_that_are_gone(recorded: Recorded) -> None:
    """Nothing of ours keeps an engine, and its pool is no longer shown."""
    engine: Any = create_engine("sqlite://", poolclass=QueuePool)
    instrument_engine(engine, meter_provider=recorded.provider)
    assert len(recorded.points(COUNT)) == 2
    del engine
    gc.collect()
    assert recorded.points(COUNT) == []


def test_sqlalchemy_wants_an_engine() -> None:
    """Anything else is said at once."""
    with pytest.raises(ConfigurationError, match="engine"):
        instrument_engine("sqlite://")  # type: ignore[arg-type]
