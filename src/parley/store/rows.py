"""Rows of one transaction: read once, changed in memory, written together.

Knows keys and columns, no noun: the queries of each noun are in its own file, and `unit.py` joins them.
"""

from collections.abc import Callable, Collection, Iterable
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import astuple, fields
from sqlalchemy import Boolean, Select, Table, bindparam, delete, select

from parley.domain.accounts import Account
from parley.domain.departments import Department
from parley.domain.messages import Message
from parley.domain.ports import Row
from parley.domain.replies import Reply
from parley.domain.rooms import Ban, Member, Room
from parley.domain.sessions import Session
from parley.domain.streams import Stream
from parley.domain.tickets import Ticket
from parley.store.engine import Cursor, Engine, Key, Query
from parley.store.schema import TABLES

R = TypeVar("R", bound=Row)

_ADD: Final = 1
_SAVE: Final = 2
_PUT: Final = 3
_REMOVE: Final = 4

#: The second unique key of a kind. A row has none where a part of it is NULL.
_OTHER_KEYS: Final[dict[type[Row], tuple[str, ...]]] = {
    Account: ("username_key",),
    Message: ("room", "sender", "client_id"),
    Department: ("name_key",),
    Reply: ("shortcut",),
}
#: What a writer that is alone may keep from one transaction to the next: few, small, and read by every command.
_KEPT: Final = (Account, Room, Member, Ban)
#: Locked as soon as a writer reads it, where writers run beside each other. An account is not: most commands only read
#: it, and it is never written as a whole; those that name one lock it (`unit.prefetch`).
_LOCKED: Final = frozenset({Room, Session, Stream, Ticket})
ROWS_KEPT_MAX: Final = 50_000


class Kind:
    """One kind of row: its keys, how it is made from a driver's tuple, and its statements on one engine."""

    def __init__(self, kind: type[Row], engine: Engine) -> None:
        table = TABLES[kind]
        names = [field.name for field in fields(kind)]
        assert names == list(table.c.keys()), f"{kind.__name__} and its table differ"
        self.kind: Final = kind
        self._table: Final = table
        self.columns: Final = names
        self.key_of: Final[Callable[[Any], Key]] = attrgetter(*kind.KEY)
        self.other_key: Final = _OTHER_KEYS.get(kind, ())
        self._other_key_of: Final[Callable[[Any], Key]] = attrgetter(*(self.other_key or kind.KEY))
        self.width: Final = len(kind.KEY)
        self._key_at: Final = [names.index(name) for name in kind.KEY]
        self._booleans: Final = [column.name for column in table.c if isinstance(column.type, Boolean)]
        self._engine: Final = engine
        self.by_key, found = _queries(table, kind.KEY, engine)
        self.by_keys: Final = Query(found)
        keys = [table.c[name] for name in kind.KEY]
        # Everybody locks in this order, and the row that every helpdesk needs last: nobody waits in a ring.
        self.by_keys_locked: Final = Query(
            found.order_by(*((keys[0] == "queue",) if kind is Room else ()), *keys).with_for_update(of=table)
        )
        self.by_other_key, found = _queries(table, self.other_key or kind.KEY, engine)
        self.by_other_keys: Final = Query(found)
        self.insert_text: Final = engine.insert_text(table, replacing=False)
        self.put_text: Final = engine.insert_text(table, replacing=True)
        self._delete: Final = engine.compile(delete(table).where(*(key == bindparam(key.name) for key in keys)))
        self._updates: Final[dict[tuple[int, ...], str]] = {}

    def make(self, values: tuple[Any, ...]) -> Row:
        row = self.kind(*values)
        for name in self._booleans:  # SQLite has none
            setattr(row, name, bool(getattr(row, name)))
        return row

    def key_in(self, values: tuple[Any, ...]) -> Key:
        at = self._key_at
        return values[at[0]] if len(at) == 1 else tuple(values[i] for i in at)

    def named(self, key: Key) -> dict[str, Any]:
        return dict(zip(self.kind.KEY, key if self.width > 1 else (key,), strict=True))

    def other_named(self, key: Key) -> dict[str, Any]:
        return dict(zip(self.other_key, key if len(self.other_key) > 1 else (key,), strict=True))

    def other_key_in(self, row: Row) -> Key | None:
        """The row's second unique key, or None where it has none."""
        if not self.other_key:
            return None
        key = self._other_key_of(row)
        return None if type(key) is tuple and None in key else key

    def delete(self, cursor: Cursor, keys: Iterable[Key]) -> None:
        text, _ = self._delete
        cursor.executemany(text, [self.named(key) for key in keys])

    def update(self, cursor: Cursor, changed: tuple[int, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        """Write the columns at the places `changed` of rows given as all their values, in one statement."""
        places = [*self._key_at, *changed]
        names = [self.columns[i] for i in places]
        text = self._updates.get(changed)
        if text is None:
            text = self._updates[changed] = self._engine.update_text(self._table, names, keys=self.width)
        self._engine.update(cursor, text, names, [tuple(values[i] for i in places) for values in rows])


def _queries(table: Table, key: tuple[str, ...], engine: Engine) -> tuple[Query, Select[Any]]:
    """What finds the row with one key, and what finds those with many."""
    columns = [table.c[name] for name in key]
    one = select(*table.c).where(*(column == bindparam(column.name) for column in columns))
    wanted, condition = engine.keys_clause(columns)
    return Query(one), select(*table.c).select_from(wanted.join(table, condition))


class Asking(NamedTuple):
    """A query for rows by their keys, and what to do with those that it finds."""

    query: Query
    parameters: dict[str, Any]
    take: Callable[[list[Any]], None]


def kinds_on(engine: Engine) -> dict[type[Row], Kind]:
    return {kind: Kind(kind, engine) for kind in TABLES}


class Rows:
    """The rows that one transaction has seen and changed: `get` and the staged writes of `ports.Transaction`.

    Not thread-safe. After a rollback throw it away: what it holds is not what is stored.
    """

    def __init__(self, engine: Engine, kinds: dict[type[Row], Kind], cursor: Cursor, epoch: str, *, lock: bool) -> None:
        self.engine: Final = engine
        self.cursor: Final = cursor
        self.epoch: Final = epoch
        self.writes = 0  # how often something was staged: a refusal after a write is a bug
        self._flushed = 0  # of these, how many are in the database
        self._kinds: Final = kinds
        self._lock: Final = lock and engine.locks
        self._rows: Final[dict[type[Row], dict[Key, Any]]] = {kind: {} for kind in kinds}
        self._stored: Final[dict[type[Row], dict[Key, tuple[Any, ...]]]] = {kind: {} for kind in kinds}
        self._by_other_key: Final[dict[type[Row], dict[Key, Any]]] = {kind: {} for kind in _OTHER_KEYS}
        self._staged: Final[dict[type[Row], dict[Key, int]]] = {kind: {} for kind in kinds}

    # --- Reading

    def get(self, kind: type[R], *key: str | int) -> R | None:
        known = key[0] if len(key) == 1 else key
        try:
            row: R | None = self._rows[kind][known]
        except KeyError:
            self.load(kind, (known,), lock=kind in _LOCKED)
            row = self._rows[kind][known]
        return row

    def load(self, kind: type[Row], keys: Collection[Key], *, lock: bool = False, again: bool = False) -> None:
        """Read these rows with one statement, and remember which are not there.

        `lock` also locks them, where writers run beside each other; `again` reads what is known already once more.
        """
        self.load_together(self.asking(kind, keys, lock=lock, again=again))

    def asking(
        self, kind: type[Row], keys: Collection[Key], *, lock: bool = False, again: bool = False
    ) -> "Asking | None":
        """What `load` would ask, for `load_together`; None where everything is known."""
        known = self._rows[kind]
        wanted = list(keys) if again else [key for key in keys if key not in known]
        if not wanted:
            return None
        about = self._kinds[kind]

        def take(found: list[Any]) -> None:
            if again:
                for key in wanted:
                    known.pop(key, None)
            for values in found:
                self._adopt(about, values)
            for key in wanted:
                known.setdefault(key, None)

        if lock and self._lock:
            return Asking(about.by_keys_locked, self.engine.keys_parameters(wanted, about.width), take)
        if len(wanted) == 1:
            return Asking(about.by_key, about.named(wanted[0]), take)
        return Asking(about.by_keys, self.engine.keys_parameters(wanted, about.width), take)

    def asking_by_other_keys(self, kind: type[Row], keys: Iterable[Key]) -> "Asking | None":
        """The same for the second unique key."""
        known = self._by_other_key[kind]
        wanted = [key for key in keys if key not in known]
        if not wanted:
            return None
        about = self._kinds[kind]

        def take(found: list[Any]) -> None:
            for values in found:
                self._adopt(about, values)
            for key in wanted:
                known.setdefault(key, None)

        return Asking(about.by_other_keys, self.engine.keys_parameters(wanted, len(about.other_key)), take)

    def load_together(self, *asked: "Asking | None") -> None:
        """Ask all of it, in this order, and take what comes; on PostgreSQL in one round trip."""
        given = [each for each in asked if each is not None]
        found = self.engine.run_together(self.cursor, [(each.query, each.parameters) for each in given])
        for each, rows in zip(given, found, strict=True):
            each.take(rows)

    def select(self, kind: type[R], query: Query, **parameters: Any) -> list[R]:
        """Rows of one kind that a query finds, what was staged before included."""
        self.flush()
        about = self._kinds[kind]
        return [self._adopt(about, values) for values in query.run(self.engine, self.cursor, parameters)]

    def select_values(self, query: Query, **parameters: Any) -> list[Any]:
        self.flush()
        return query.run(self.engine, self.cursor, parameters)

    def by_other_key(self, kind: type[R], key: Key) -> R | None:
        """The row with this second unique key."""
        known = self._by_other_key[kind]
        if key not in known:
            about = self._kinds[kind]
            found = self.select(kind, about.by_other_key, **about.other_named(key))
            known[key] = found[0] if found else None
        row: R | None = known[key]
        return row

    def adopt(self, kind: type[R], values: tuple[Any, ...]) -> R:
        row: R = self._adopt(self._kinds[kind], values)
        return row

    def _adopt(self, about: Kind, values: tuple[Any, ...]) -> Any:
        key = about.key_in(values)
        rows = self._rows[about.kind]
        row = rows.get(key)
        if row is None:
            row = rows[key] = about.make(values)
            self._stored[about.kind][key] = values
            if (other := about.other_key_in(row)) is not None:
                self._by_other_key[about.kind][other] = row
        return row

    # --- Writing

    def add(self, row: Row) -> None:
        kind = type(row)
        about = self._kinds[kind]
        key = about.key_of(row)
        staged = self._staged[kind]
        staged[key] = _PUT if staged.get(key) == _REMOVE else _ADD
        self._rows[kind][key] = row
        self.writes += 1
        if (other := about.other_key_in(row)) is not None:
            self._by_other_key[kind][other] = row

    def save(self, row: Row) -> None:
        kind = type(row)
        key = self._kinds[kind].key_of(row)
        assert self._rows[kind].get(key) is row, "only what `get` gave is saved"
        self._staged[kind].setdefault(key, _SAVE)
        self.writes += 1

    def put(self, row: Row) -> None:
        kind = type(row)
        key = self._kinds[kind].key_of(row)
        staged = self._staged[kind]
        if staged.get(key) != _ADD:
            staged[key] = _SAVE if key in self._stored[kind] else _PUT
        self._rows[kind][key] = row
        self.writes += 1

    def remove(self, row: Row) -> None:
        kind = type(row)
        about = self._kinds[kind]
        key = about.key_of(row)
        staged = self._staged[kind]
        if staged.get(key) == _ADD:
            del staged[key]
        else:
            staged[key] = _REMOVE
        self._rows[kind][key] = None
        self.writes += 1
        if (other := about.other_key_in(row)) is not None:
            self._by_other_key[kind][other] = None

    def flush(self) -> None:
        """Write what was staged, one statement for each kind of write."""
        if self._flushed == self.writes:
            return
        self._flushed = self.writes
        written = [(self._kinds[kind], staged) for kind, staged in self._staged.items() if staged]
        for about, staged in reversed(written):
            if gone := [key for key, write in staged.items() if write == _REMOVE]:
                about.delete(self.cursor, gone)
                for key in gone:
                    self._stored[about.kind].pop(key, None)
        for about, staged in written:
            rows = self._rows[about.kind]
            if new := [rows[key] for key, write in staged.items() if write == _ADD]:
                self.engine.insert(self.cursor, about.insert_text, new)
            if put := [rows[key] for key, write in staged.items() if write == _PUT]:
                self.engine.insert(self.cursor, about.put_text, put)
            if saved := [key for key, write in staged.items() if write == _SAVE]:
                self._update(about, saved)
            staged.clear()

    def _update(self, about: Kind, keys: list[Key]) -> None:
        # Only columns that changed are written: what another process set in the others stays.
        rows, stored = self._rows[about.kind], self._stored[about.kind]
        every = tuple(range(len(about.columns)))
        alike: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
        for key in keys:
            now, before = astuple(rows[key]), stored.get(key)
            changed = every if before is None else tuple(i for i in every if now[i] != before[i])
            if changed:
                alike.setdefault(changed, []).append(now)
            stored[key] = now
        for changed, same in alike.items():
            about.update(self.cursor, changed, same)

    def forget(self, *, everything: bool) -> None:
        """After a commit: drop what the next transaction must read anew; `everything` where others may have written."""
        full = sum(len(self._rows[kind]) for kind in _KEPT) > ROWS_KEPT_MAX
        for kind, rows in self._rows.items():
            if everything or full or kind not in _KEPT:
                rows.clear()
                self._stored[kind].clear()
        for known in self._by_other_key.values():
            known.clear()
