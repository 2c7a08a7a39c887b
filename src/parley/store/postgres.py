"""PostgreSQL: several writers, here and in other processes, kept apart by locks on the rows of rooms.

What both engines share is `engine.py`. Needs PostgreSQL 13 or later (`xid8`) and a database in UTF-8.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    ColumnElement,
    FromClause,
    Table,
    Text,
    and_,
    bindparam,
    column,
    create_engine,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql import psycopg as sqlalchemy_psycopg
from sqlalchemy.pool import StaticPool

from parley.domain.ports import Row
from parley.store import versions
from parley.store.engine import Cursor, Engine, Key, Query, Trouble
from parley.store.problems import StoreProblem
from parley.store.schema import rooms

WRITING_THREADS: Final = 3
CONNECT_TIMEOUT_S: Final = 3
SERVER_VERSION_MIN: Final = 130_000

#: What a session is told. A process that was stopped in the middle of a transaction loses it before those who wait for
#: its locks give up.
_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "4s",
    "lock_timeout": "8s",
    "statement_timeout": "12s",
    "timezone": "UTC",
    "application_name": "parley",
}
#: How long a peer that no longer answers is believed in.
_LINE: Final[dict[str, Any]] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
#: And one whose kernel still answers while it is frozen, or its disk is. Longer than a statement may take.
SILENT_S: Final = 15.0
#: SQLSTATE classes and codes after which the database cannot be used now: connections, resources, operator's
#: intervention, system errors, a standby after a failover, a lock that somebody holds for longer than we wait.
_AWAY: Final = ("08", "53", "57", "58", "25006", "25P03", "55P03", "F0")
#: Serialisation failure, deadlock, a constraint that somebody else's row has met first.
_AGAIN: Final = ("40", "23")


class _Line(psycopg.Connection[Any]):
    """A connection that is closed once the server has left a statement unanswered for `SILENT_S`."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, SILENT_S if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.close()  # what now leaves the pipeline and the transaction must not wait as long again
            raise


class PostgreSQL(Engine):
    """A database behind a URL. The URL holds the password, so it never reaches a message of ours."""

    locks = True
    writing_threads = WRITING_THREADS

    def __init__(self, url: str) -> None:
        self._url = url
        self.dialect = sqlalchemy_psycopg.dialect()  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return "PostgreSQL(…)"

    def prepare(self, random_bytes: Callable[[int], bytes]) -> str:
        with contextlib.closing(self._first_connection()) as connection:
            found = versions.of(connection.cursor(), _HAS_VERSION)
            if found != versions.NEWEST:
                raise StoreProblem(versions.problem(found, "the PostgreSQL database"))
            row = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
            assert row is not None
            return str(row[0])

    def upgrade(self, random_bytes: Callable[[int], bytes]) -> None:
        with contextlib.closing(self._first_connection()) as connection:
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            database = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
            with database.connect() as bound, bound.begin():
                # One at a time, also where two hosts are upgraded at once.
                bound.execute(text("SELECT pg_advisory_xact_lock(7205759403792793)"))
                versions.upgrade(bound, random_bytes, versions.of(connection.cursor(), _HAS_VERSION))

    def renew_epoch(self, epoch: str) -> None:
        with contextlib.closing(self._first_connection()) as connection:
            connection.execute("UPDATE meta SET value = %s WHERE key = 'epoch'", (epoch,))

    def backup(self, path: Path, epoch: str) -> None:
        raise StoreProblem("PostgreSQL has a backup of its own: use `pg_dump`, or a base backup.")

    def _first_connection(self) -> Any:
        try:
            connection = self._connect(psycopg.Connection)  # a migration takes as long as it takes
        except psycopg.ProgrammingError:  # its text quotes the URL, password and all
            raise StoreProblem("PARLEY_DATABASE_URL is not a PostgreSQL URL: postgresql://USER@HOST/NAME.") from None
        except psycopg.Error as problem:
            # The driver's text names host, port and user, never the password; only its first line is kept.
            told = (str(problem).splitlines() or [type(problem).__name__])[0]
            raise StoreProblem(f"PostgreSQL cannot be reached: {told}") from problem
        if connection.info.server_version < SERVER_VERSION_MIN:
            raise StoreProblem("PostgreSQL 13 or later is needed.")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreProblem(f"The PostgreSQL database must be in UTF8; it is in {encoding}.")
        return connection

    def _connect(self, kind: type[psycopg.Connection[Any]] = _Line) -> psycopg.Connection[Any]:
        settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        return kind.connect(
            self._url,
            autocommit=True,  # no implicit transactions: BEGIN is ours
            connect_timeout=CONNECT_TIMEOUT_S,
            options=settings,
            client_encoding="utf8",
            **_LINE,
        )

    def connect(self, *, writing: bool) -> psycopg.Connection[Any]:
        connection = self._connect()
        if writing:
            # An answer is a promise, whatever the server's default: what is committed is on disk.
            row = connection.execute("SHOW synchronous_commit").fetchone()
            if row is not None and row[0] == "off":
                connection.execute("SET synchronous_commit = on")
        return connection

    def begin(self, cursor: Cursor, *, writing: bool) -> None:
        cursor.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
            if writing
            else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )

    def commit(self, cursor: Cursor) -> None:
        cursor.execute("COMMIT")

    def rollback(self, connection: psycopg.Connection[Any]) -> None:
        with contextlib.suppress(psycopg.Error):
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.rollback()

    def close(self, connection: psycopg.Connection[Any]) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.close()

    def trouble(self, problem: BaseException) -> Trouble:
        if not isinstance(problem, psycopg.Error):
            return "bug"
        code = problem.sqlstate
        if code is None:  # the driver's own: the connection is gone, or was never made
            return "away" if isinstance(problem, psycopg.OperationalError) else "bug"
        return "away" if code.startswith(_AWAY) else "again" if code.startswith(_AGAIN) else "bug"

    @contextlib.contextmanager
    def pipelined(self, cursor: Cursor) -> Iterator[None]:
        with cursor.connection.pipeline():
            yield

    def run_together(self, cursor: Cursor, asked: Sequence[tuple[Query, dict[str, Any]]]) -> list[list[Any]]:
        if len(asked) == 1:
            return super().run_together(cursor, asked)
        connection = cursor.connection
        asking = [connection.cursor().execute(*query.on(self, parameters)) for query, parameters in asked]
        return [each.fetchall() for each in asking]

    def insert_text(self, table: Table, *, replacing: bool) -> str:
        given = _given(table, table.c.keys())
        statement = insert(table).from_select(table.c.keys(), select(*given.c))
        if replacing:
            others = {each.name: statement.excluded[each.name] for each in table.c if not each.primary_key}
            statement = statement.on_conflict_do_update(index_elements=table.primary_key.columns, set_=others)
        return self.compile(statement)[0]

    def insert(self, cursor: Cursor, text: str, rows: Sequence[Row]) -> None:
        cursor.execute(text, {"rows": msgspec.json.encode(rows).decode()})

    def update_text(self, table: Table, columns: Sequence[str], *, keys: int) -> str:
        given = _given(table, columns)
        statement = update(table).where(*(table.c[name] == given.c[name] for name in columns[:keys]))
        return self.compile(statement.values({name: given.c[name] for name in columns[keys:]}))[0]

    def update(self, cursor: Cursor, text: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        given = [dict(zip(columns, row, strict=True)) for row in rows]
        cursor.execute(text, {"rows": msgspec.json.encode(given).decode()})

    def keys_clause(self, columns: Sequence[ColumnElement[Any]]) -> tuple[FromClause, ColumnElement[bool]]:
        names = [f"key_{i}" for i in range(len(columns))]
        arrays = [
            bindparam(name, type_=ARRAY(BigInteger if isinstance(each.type, BigInteger) else Text))
            for name, each in zip(names, columns, strict=True)
        ]
        keys = func.unnest(*arrays).table_valued(*names, name="wanted").render_derived()
        return keys, and_(*(each == keys.c[name] for name, each in zip(names, columns, strict=True)))

    def keys_parameters(self, keys: Iterable[Key], width: int) -> dict[str, Any]:
        if width == 1:
            return {"key_0": list(keys)}
        listed = list(keys)
        return {f"key_{i}": [key[i] for key in listed] for i in range(width)}

    def changes_position(self, cursor: Cursor) -> int:
        ((oldest_open,),) = _OLDEST_OPEN.run(self, cursor, {})
        return int(oldest_open)

    def changes_from(self, cursor: Cursor, position: int, limit: int) -> list[tuple[Any, ...]]:
        return _CHANGES.run(self, cursor, {"position": str(position), "limit": limit})

    def heads_beyond(self, cursor: Cursor, heads: Mapping[str, int]) -> list[tuple[str, int]]:
        return _HEADS.run(self, cursor, {"rooms": list(heads), "seqs": list(heads.values())})


def _given(table: Table, columns: Sequence[str]) -> FromClause:
    """Many rows as one parameter, in JSON: the driver would adapt each value of each row in Python."""
    described = [column(name, table.c[name].type) for name in columns]
    rows = func.json_to_recordset(bindparam("rows", type_=JSON)).table_valued(*described, name="given")
    return rows.render_derived(with_types=True)


_HAS_VERSION: Final = "SELECT to_regclass('alembic_version') IS NOT NULL"
_OLDEST_OPEN: Final = Query(text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"))
_CHANGES: Final = Query(
    text(
        "SELECT id, CAST(CAST(xid AS text) AS bigint), kind, target, at_ms, detail FROM changes"
        " WHERE xid >= CAST(CAST(:position AS text) AS xid8) ORDER BY xid, id LIMIT :limit"
    )
)
_heads: Final = (
    func.unnest(bindparam("rooms", type_=ARRAY(Text)), bindparam("seqs", type_=ARRAY(BigInteger)))
    .table_valued("room", "seq", name="heads")
    .render_derived()
)
_HEADS: Final = Query(
    select(rooms.c.id, rooms.c.seq)
    .select_from(_heads.join(rooms, rooms.c.id == _heads.c.room))
    .where(rooms.c.seq > _heads.c.seq)
)
