"""SQLite: one file, one writing connection at a time, everything on disk before `commit` returns.

What both engines share is `engine.py`.
"""

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import astuple
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Table,
    and_,
    bindparam,
    create_engine,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import sqlite as sqlalchemy_sqlite
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import StaticPool

from parley.domain.ports import Row
from parley.store import versions
from parley.store.engine import Cursor, Engine, Key, Query, Trouble
from parley.store.problems import StoreProblem
from parley.store.schema import changes, rooms

BUSY_TIMEOUT_MS: Final = 5000  # the command line writes beside us, one short transaction at a time
#: Rows in one INSERT: few steps, so that the interpreter's lock changes hands seldom, and few texts.
ROWS_IN_ONE_INSERT: Final = (64, 16, 4, 1)

#: What a connection is told, and what it must say afterwards. `synchronous` 2 is FULL.
PRAGMAS: Final = {
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),
    "foreign_keys": ("ON", 1),
    "secure_delete": ("ON", 1),
    "busy_timeout": (str(BUSY_TIMEOUT_MS), BUSY_TIMEOUT_MS),
}

_PLACES: Final = re.compile(r"(?<=VALUES )(\([?, ]+\))")  # one row of an insert

_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)


@cache
def _for_several(text: str, rows: int) -> str:
    """The text of an insert of one row, as one of several rows."""
    head, one, tail = _PLACES.split(text, maxsplit=1)
    return f"{head}{', '.join([one] * rows)}{tail}"


#: Five seconds in all.
EPOCH_TRIES: Final = 100
EPOCH_WAIT_S: Final = 0.05


class SQLite(Engine):
    """A file, made with mode 0600 in a directory of mode 0700 where they do not exist."""

    locks = False
    writing_threads = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dialect = sqlalchemy_sqlite.dialect(paramstyle="named")
        self._positional = sqlalchemy_sqlite.dialect(paramstyle="qmark")

    def prepare(self, random_bytes: Callable[[int], bytes]) -> str:
        self.make_file()
        self.upgrade(random_bytes)
        with contextlib.closing(self._first_connection()) as connection:
            for _ in range(EPOCH_TRIES):
                row = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
                if row is not None:
                    return str(row[0])
                # Alembic commits its tables by itself; the process that upgrades writes the epoch right behind them.
                time.sleep(EPOCH_WAIT_S)
        raise StoreProblem(f"{self.path} has no epoch: its first upgrade was cut off. Remove it, or restore a backup.")

    def upgrade(self, random_bytes: Callable[[int], bytes]) -> None:
        with contextlib.closing(self._first_connection()) as connection:
            found = versions.of(connection.cursor(), _HAS_VERSION)
            if found == versions.NEWEST:
                return
            if found is not None and found not in versions.VERSIONS:
                raise StoreProblem(versions.problem(found, str(self.path)))
            connection.execute("PRAGMA foreign_keys=OFF")  # a migration may rebuild a table that others refer to
            database = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
            with database.connect() as bound:
                connection.execute("BEGIN IMMEDIATE")  # only now: at its first connect SQLAlchemy rolls back
                # Asked again: another process may have upgraded while this one waited.
                versions.upgrade(bound, random_bytes, versions.of(connection.cursor(), _HAS_VERSION))
                bound.commit()

    def renew_epoch(self, epoch: str) -> None:
        with contextlib.closing(self._first_connection()) as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))

    def backup(self, path: Path, epoch: str) -> None:
        live = Path(self.path)
        for own in (live, live.with_name(live.name + "-wal"), live.with_name(live.name + "-shm")):
            if path.exists() and own.exists() and path.samefile(own):
                raise StoreProblem(f"{path} is the database itself: a backup goes into another file.")
        part = path.with_name(f"{path.name}.part")
        try:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with (
                contextlib.closing(self._first_connection()) as source,
                contextlib.closing(sqlite3.connect(part, isolation_level=None)) as copy,
            ):
                source.backup(copy)  # one step, on one snapshot: writers go on meanwhile
                copy.execute("PRAGMA journal_mode=DELETE")  # the whole backup is one file
                copy.execute("PRAGMA synchronous=FULL")
                copy.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
            part.replace(path)
            directory = os.open(path.parent, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
        except (OSError, sqlite3.Error) as problem:
            why = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
            raise StoreProblem(f"The backup {path} cannot be written: {why}.") from problem
        finally:
            part.unlink(missing_ok=True)

    def _first_connection(self) -> sqlite3.Connection:
        try:
            return self.connect(writing=True)
        except sqlite3.Error as problem:
            raise StoreProblem(f"SQLite cannot open {self.path}: {problem}.") from problem

    def make_file(self) -> None:
        """Make the file private before SQLite does it with the umask's mode; its `-wal` and `-shm` follow it."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as problem:
            raise StoreProblem(f"The database file {self.path} cannot be made: {problem.strerror}.") from problem

    def connect(self, *, writing: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,  # no implicit transactions: BEGIN is ours
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            for pragma, (told, expected) in PRAGMAS.items():
                connection.execute(f"PRAGMA {pragma}={told}")
                (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
                if found != expected:
                    raise StoreProblem(f"SQLite keeps {pragma} at {found} instead of {expected} in {self.path}.")
            connection.execute("PRAGMA cache_size=-16384")  # 16 MiB
            # A page that is written in every commit is copied back once in 16 MiB, not once in 4.
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            connection.execute("PRAGMA journal_size_limit=67108864")  # a WAL that grew shrinks again
            if not writing:
                connection.execute("PRAGMA query_only=ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, cursor: Cursor, *, writing: bool) -> None:
        cursor.execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    def commit(self, cursor: Cursor) -> None:
        cursor.execute("COMMIT")

    def rollback(self, connection: sqlite3.Connection) -> None:
        # A full disk has rolled back already, by SQLite itself.
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def close(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()

    def trouble(self, problem: BaseException) -> Trouble:
        if isinstance(problem, sqlite3.IntegrityError):
            return "again"
        if isinstance(problem, sqlite3.ProgrammingError):  # also: of a closed connection
            return "bug"
        code = getattr(problem, "sqlite_errorcode", None)
        return "away" if code is not None and code & 0xFF in _AWAY else "bug"

    def unchanged_since(self, cursor: Cursor, mark: Any) -> tuple[bool, Any]:
        cursor.execute("PRAGMA data_version")
        version = cursor.fetchone()
        return version == mark, version

    def insert_text(self, table: Table, *, replacing: bool) -> str:
        # OR ROLLBACK, because we roll back anyway, and SQLite then keeps no journal of this one statement.
        statement = insert(table) if replacing else insert(table).prefix_with("OR ROLLBACK")
        if replacing:
            others = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
            statement = statement.on_conflict_do_update(index_elements=table.primary_key.columns, set_=others)
        return str(statement.compile(dialect=self._positional))

    def insert(self, cursor: Cursor, text: str, rows: Sequence[Row]) -> None:
        done = 0
        for size in ROWS_IN_ONE_INSERT:
            while len(rows) - done >= size:
                part = rows[done : done + size]
                cursor.execute(_for_several(text, size), tuple(chain.from_iterable(map(astuple, part))))
                done += size

    def update_text(self, table: Table, columns: Sequence[str], *, keys: int) -> str:
        # One statement for all rows, here too: each step gives the interpreter's lock away and waits to get it back.
        rows = func.json_each(bindparam("rows")).table_valued("value", name="given")
        given = {
            name: func.json_extract(rows.c.value, literal_column(f"'$[{i}]'"), type_=table.c[name].type)
            for i, name in enumerate(columns)
        }
        statement = update(table).where(*(table.c[name] == given[name] for name in columns[:keys]))
        return self.compile(statement.values({name: given[name] for name in columns[keys:]}))[0]

    def update(self, cursor: Cursor, text: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        cursor.execute(text, {"rows": msgspec.json.encode(rows).decode()})

    def keys_clause(self, columns: Sequence[ColumnElement[Any]]) -> tuple[FromClause, ColumnElement[bool]]:
        keys = func.json_each(bindparam("keys")).table_valued("value", name="wanted")
        if len(columns) == 1:
            return keys, columns[0] == keys.c.value
        parts = [func.json_extract(keys.c.value, literal_column(f"'$[{i}]'")) for i in range(len(columns))]
        return keys, and_(*(column == part for column, part in zip(columns, parts, strict=True)))

    def keys_parameters(self, keys: Iterable[Key], width: int) -> dict[str, Any]:
        return {"keys": msgspec.json.encode(list(keys)).decode()}

    def changes_position(self, cursor: Cursor) -> int:
        ((last,),) = _LAST_CHANGE.run(self, cursor, {})
        return int(last or 0) + 1

    def changes_from(self, cursor: Cursor, position: int, limit: int) -> list[tuple[Any, ...]]:
        return _CHANGES.run(self, cursor, {"position": position, "limit": limit})

    def heads_beyond(self, cursor: Cursor, heads: Mapping[str, int]) -> list[tuple[str, int]]:
        return _HEADS.run(self, cursor, {"heads": msgspec.json.encode(heads).decode()})


_HAS_VERSION: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
_LAST_CHANGE: Final = Query(select(func.max(changes.c.id)))
_CHANGES: Final = Query(
    select(changes.c.id, changes.c.id, changes.c.kind, changes.c.target, changes.c.at_ms, changes.c.detail)
    .where(changes.c.id >= bindparam("position"))
    .order_by(changes.c.id)
    .limit(bindparam("limit"))
)
_heads: Final = func.json_each(bindparam("heads")).table_valued("key", "value", name="heads")
_HEADS: Final = Query(
    select(rooms.c.id, rooms.c.seq)
    .select_from(_heads.join(rooms, rooms.c.id == _heads.c.key))
    .where(rooms.c.seq > _heads.c.value)
)
