"""What moved since the last look: heads of rooms, and the changes that every node must follow.

Finds changes in the order of their commits: on SQLite that is the order of their ids; on PostgreSQL ids commit out of
order, so a look goes back to the oldest transaction that was still open at the look before, and drops what it has told.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from parley.domain.events import Change
from parley.domain.ports import Moved
from parley.store.engine import Cursor, Engine

CHANGES_MAX: Final = 10_000  # in one look; the rest comes with the next


class Poll:
    """Remembers up to where the changes were told. For one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine: Final = engine
        self._position = 0
        self._told: set[int] = set()

    def start(self, cursor: Cursor) -> None:
        """Begin here: what was committed before is not told."""
        self._position = self._engine.changes_position(cursor)
        self._told = {row[0] for row in self._engine.changes_from(cursor, self._position, CHANGES_MAX)}

    def look(self, cursor: Cursor, heads: Mapping[str, int]) -> Moved:
        moved = dict(self._engine.heads_beyond(cursor, heads)) if heads else {}
        position = self._engine.changes_position(cursor)
        rows = self._engine.changes_from(cursor, min(self._position, position), CHANGES_MAX)
        fresh = [row for row in rows if row[0] not in self._told]
        if len(rows) == CHANGES_MAX:
            position = min(position, rows[-1][1])  # not all were read: go on from the last one's transaction
        self._told = {row[0] for row in rows if row[1] >= position}
        self._position = position
        return Moved(moved, [_change(row[2:]) for row in fresh])


def _change(values: tuple[Any, ...]) -> Change:
    kind, target, at_ms, detail = values
    return Change(kind, target, at_ms, msgspec.json.decode(detail))
