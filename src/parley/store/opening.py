"""From a database URL to a store: which engine, whether its schema is ours, its epoch.

The only place that knows both engines.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from parley.domain.events import Change, Event, Signal
from parley.domain.ports import Rules
from parley.store import versions
from parley.store.batch import Deciding
from parley.store.engine import Engine
from parley.store.postgres import PostgreSQL
from parley.store.problems import StoreProblem
from parley.store.rows import kinds_on
from parley.store.sqlite import SQLite
from parley.store.store import Store
from parley.store.writer import LoopCall


def engine_for(url: str) -> Engine:
    """The engine of `sqlite:///PATH` (four slashes: an absolute one) or `postgresql://…`. Raises: StoreProblem."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        return SQLite(Path(unquote(rest[1:])))
    if scheme in ("postgresql", "postgres"):
        return PostgreSQL(url)
    raise StoreProblem("PARLEY_DATABASE_URL is neither sqlite:///PATH nor postgresql://USER@HOST/NAME.")


def _tell_nobody(events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
    pass


def _call_here(function: Callable[..., Any], *arguments: Any) -> None:
    function(*arguments)


def open_store(
    url: str,
    *,
    clock_ms: Callable[[], int],
    random_bytes: Callable[[int], bytes],
    rules: Rules | None = None,
    loop_call: LoopCall = _call_here,
    published: Callable[[Sequence[Event], Sequence[Change], Sequence[Signal]], None] = _tell_nobody,
) -> Store:
    """Open a database; a SQLite file is made and upgraded where needed.

    `loop_call` runs a function on the loop from any thread (`loop.call_soon_threadsafe`); `published` is called there
    with what a commit made true, before the first of its answers. Raises: StoreProblem.
    """
    engine = engine_for(url)
    epoch = engine.prepare(random_bytes)
    deciding = Deciding(engine, kinds_on(engine), clock_ms, random_bytes, rules or Rules())
    return Store(engine, deciding, loop_call, published, epoch)


def upgrade_database(url: str, *, random_bytes: Callable[[int], bytes]) -> None:
    """Bring a database to this program's schema: `parley db upgrade`. Raises: StoreProblem."""
    engine = engine_for(url)
    if isinstance(engine, SQLite):
        engine.make_file()
    engine.upgrade(random_bytes)


def backup_database(url: str, path: Path, *, random_bytes: Callable[[int], bytes]) -> None:
    """Copy a database into a file of mode 0600, also beside a running server: `parley db backup`. SQLite only.

    The copy has another epoch, so that after a restore clients drop what the restored log never knew.
    Raises: StoreProblem.
    """
    engine = engine_for(url)
    engine.prepare(random_bytes)
    engine.backup(path, versions.new_epoch(random_bytes))


def renew_epoch(url: str, *, random_bytes: Callable[[int], bytes]) -> str:
    """Give a database a new epoch, after it was restored by other means than a backup of ours. Raises: StoreProblem."""
    engine = engine_for(url)
    engine.prepare(random_bytes)
    epoch = versions.new_epoch(random_bytes)
    engine.renew_epoch(epoch)
    return epoch
