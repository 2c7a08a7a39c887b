"""Which version of the schema a database has, and how it is brought to this program's.

The steps themselves are `migrations/`, run by Alembic, which is loaded only when there is something to do.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict
from sqlalchemy import Connection, delete, insert

from parley.domain.conversations import QUEUE
from parley.domain.rooms import Room
from parley.store.problems import StoreProblem
from parley.store.schema import meta, rooms

#: Every version that this program knows, oldest first: the revisions of `migrations/versions`.
VERSIONS: Final = ("0001",)
NEWEST: Final = VERSIONS[-1]
#: The oldest of them whose programs can live with the newest schema: during a rolling upgrade they serve on it, start
#: again on it, and may be gone back to. Raise it only with a migration that they can't live with.
OLDEST_BESIDE: Final = "0001"
MIGRATIONS: Final = Path(__file__).parent / "migrations"


def of(cursor: Any, has_version: str) -> str | None:
    """The database's version, None where it is empty. `has_version` asks whether there is a table of it.

    A newer one that this program can live with, as whoever upgraded it has noted, counts as this program's newest.
    """
    cursor.execute(has_version)
    if not cursor.fetchone()[0]:
        return None
    cursor.execute("SELECT version_num FROM alembic_version")
    row = cursor.fetchone()
    if not row:
        return None
    found = str(row[0])
    return NEWEST if found not in VERSIONS and _lives_with_us(cursor, found) else found


def _lives_with_us(cursor: Any, found: str) -> bool:
    cursor.execute("SELECT value FROM meta WHERE key = 'lives_with'")
    row = cursor.fetchone()
    # The note is of one version: of another it says nothing.
    version, _, oldest = str(row[0]).partition(" ") if row else ("", "", "")
    return version == found and oldest in VERSIONS


def problem(found: str | None, database: str) -> str:
    """The line that tells the operator why this version will not do."""
    if found is not None and found not in VERSIONS:
        return (
            f"A newer Parley has upgraded {database} (its schema is {found}, this program knows {NEWEST} at most): "
            "start that version, or restore a backup from before the upgrade."
        )
    return f"The schema of {database} is not that of this program: run `parley db upgrade` first."


def upgrade(connection: Connection, random_bytes: Callable[[int], bytes], found: str | None) -> None:
    """Bring the schema from `found` to the newest inside the caller's transaction. Raises: StoreProblem."""
    if found == NEWEST:
        return
    if found is not None and found not in VERSIONS:
        raise StoreProblem(problem(found, "the database"))
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.execute(delete(meta).where(meta.c.key == "lives_with"))
    connection.execute(insert(meta), [{"key": "lives_with", "value": f"{NEWEST} {OLDEST_BESIDE}"}])
    if found is None:
        connection.execute(
            insert(meta), [{"key": "epoch", "value": new_epoch(random_bytes)}, {"key": "probe", "value": ""}]
        )
        # The room in which agents learn of every conversation: there before the first, so that they can wait for it.
        queue = Room(
            id=QUEUE,
            kind="queue",
            title=None,
            visibility="private",
            archived=False,
            seq=0,
            created_at_ms=time.time_ns() // 1_000_000,
        )
        connection.execute(insert(rooms), [asdict(queue)])


def new_epoch(random_bytes: Callable[[int], bytes]) -> str:
    """The id of a log that nobody has seen: 16 hexadecimal digits."""
    return random_bytes(8).hex()
