"""What a database engine is to the rest of the store: connecting, compiling a statement once, telling troubles apart.

SQLAlchemy writes the statements and nothing else: they run as plain text on the driver. The two engines are `sqlite.py`
and `postgres.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

from sqlalchemy import ColumnElement, Dialect, FromClause, Table
from sqlalchemy.sql.elements import ClauseElement

from parley.domain.ports import Row

#: away: the database cannot be used now · again: the same commands may pass a second time · bug: neither.
Trouble: TypeAlias = Literal["away", "again", "bug"]
Key: TypeAlias = Any  # the key's one field, or a tuple of its fields


class Cursor(Protocol):
    """What both drivers' cursors have."""

    def execute(self, sql: Any, parameters: Any = ..., /) -> Any: ...
    def executemany(self, sql: Any, parameters: Any, /) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchone(self) -> Any: ...
    @property
    def connection(self) -> Any: ...


class Engine(ABC):
    """One database, as a place to connect to. Safe to share between threads; its connections are not."""

    dialect: Dialect
    #: Whether writers run beside each other, so that rows are locked before they are read.
    locks: bool
    writing_threads: int

    @abstractmethod
    def prepare(self, random_bytes: Callable[[int], bytes]) -> str:
        """Make sure that the schema is this program's, and give the epoch. Raises: StoreProblem."""

    @abstractmethod
    def upgrade(self, random_bytes: Callable[[int], bytes]) -> None:
        """Bring the schema to this program's version. Raises: StoreProblem."""

    @abstractmethod
    def renew_epoch(self, epoch: str) -> None:
        """Give the logs another id, so that every client drops what it holds. For a restored backup."""

    @abstractmethod
    def backup(self, path: Path, epoch: str) -> None:
        """Copy the database as it is now into a private file whose logs have this epoch, beside running writers.

        Raises: StoreProblem.
        """

    # --- Connections

    @abstractmethod
    def connect(self, *, writing: bool) -> Any:
        """A connection with every setting made and read back. Raises: what the driver raises; StoreProblem."""

    @abstractmethod
    def begin(self, cursor: Cursor, *, writing: bool) -> None: ...

    @abstractmethod
    def commit(self, cursor: Cursor) -> None: ...

    @abstractmethod
    def rollback(self, connection: Any) -> None:
        """Leave the transaction, if there is one. Never raises."""

    @abstractmethod
    def close(self, connection: Any) -> None:
        """Never raises."""

    @abstractmethod
    def trouble(self, problem: BaseException) -> Trouble: ...

    def unchanged_since(self, cursor: Cursor, mark: Any) -> tuple[bool, Any]:
        """Whether nobody else has committed since `mark` was given, and the next mark."""
        return False, None

    # --- Statements

    @contextmanager
    def pipelined(self, cursor: Cursor) -> Iterator[None]:
        """Inside, a statement travels when somebody looks at a result, or at the end: what fails may fail that late."""
        yield

    def run_together(self, cursor: Cursor, asked: Sequence[tuple["Query", dict[str, Any]]]) -> list[list[Any]]:
        """The rows of each of several queries; inside `pipelined` all are asked before the first answer is read."""
        return [query.run(self, cursor, parameters) for query, parameters in asked]

    @abstractmethod
    def insert_text(self, table: Table, *, replacing: bool) -> str:
        """The text of an insert for `insert`; `replacing` overwrites a row with the same key."""

    @abstractmethod
    def insert(self, cursor: Cursor, text: str, rows: Sequence[Row]) -> None:
        """Insert rows of one kind at once."""

    @abstractmethod
    def update_text(self, table: Table, columns: Sequence[str], *, keys: int) -> str:
        """The text of an update for `update`; the first `keys` of the columns are the primary key."""

    @abstractmethod
    def update(self, cursor: Cursor, text: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Write these columns of many rows at once."""

    @abstractmethod
    def keys_clause(self, columns: Sequence[ColumnElement[Any]]) -> tuple[FromClause, ColumnElement[bool]]:
        """Many keys as something to join with, and the condition of the join; `keys_parameters` fills it."""

    @abstractmethod
    def keys_parameters(self, keys: Iterable[Key], width: int) -> dict[str, Any]: ...

    # --- The poll

    @abstractmethod
    def changes_position(self, cursor: Cursor) -> int:
        """Before which place no change can appear any more."""

    @abstractmethod
    def changes_from(self, cursor: Cursor, position: int, limit: int) -> list[tuple[Any, ...]]:
        """(id, position, kind, target, at_ms, detail) of the changes at this place and behind it, ascending."""

    @abstractmethod
    def heads_beyond(self, cursor: Cursor, heads: Mapping[str, int]) -> list[tuple[str, int]]:
        """(room, seq) of those rooms whose head is beyond the given one."""

    def compile(self, statement: ClauseElement) -> tuple[str, dict[str, Any]]:
        """The statement's text with parameters by name, and the values of those that are constants in it."""
        compiled = statement.compile(dialect=self.dialect)
        return str(compiled), {name: value for name, value in compiled.params.items() if value is not None}


class Query:
    """A statement written once, and compiled once for each engine that runs it. Its parameters go by name."""

    __slots__ = ("_statement", "_texts")

    def __init__(self, statement: ClauseElement) -> None:
        self._statement: Final = statement
        self._texts: Final[dict[str, tuple[str, dict[str, Any]]]] = {}

    def on(self, engine: Engine, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text and the parameters for a driver."""
        try:
            text, constants = self._texts[engine.dialect.name]
        except KeyError:
            text, constants = self._texts[engine.dialect.name] = engine.compile(self._statement)
        return text, {**constants, **parameters} if constants else parameters

    def run(self, engine: Engine, cursor: Cursor, parameters: dict[str, Any]) -> list[Any]:
        """Every row, as the driver's tuples."""
        cursor.execute(*self.on(engine, parameters))
        return cursor.fetchall()
