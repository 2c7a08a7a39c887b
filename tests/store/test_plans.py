"""How the engines carry out the store's queries: none walks through a table that grows with use."""

import pkgutil
import re
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import parley.store
from parley.store import accounts, rooms
from parley.store.engine import Query
from parley.store.postgres import PostgreSQL
from parley.store.sqlite import SQLite

#: Walked through whole, with the reason.
WALKED = {
    "agents": "as many as people answer",
    "accounts USING INDEX ix_accounts_agents": "the part of them who are agents",
    "streams": "once, when the only node starts",
    "revocations": "once at the start, and by the hourly sweep: what was revoked within the life of a token",
    "sessions": "by the hourly sweep",
    "tickets": "by the hourly sweep: those of the last seconds",
    "changes": "trimmed once an hour: those of a day",
    "nodes": "as many as serve",
    "wanted": "the keys that were asked for",
    "heads": "the rooms that are read",
}


def queries() -> Iterator[tuple[str, Query]]:
    for module in pkgutil.iter_modules(parley.store.__path__, "parley.store."):
        if module.name.endswith(".postgres"):
            continue
        for name, value in vars(import_module(module.name)).items():
            for query in value if isinstance(value, tuple) else (value,):
                if isinstance(query, Query):
                    yield f"{module.name}.{name}", query


def plan_on_sqlite(path: str, query: Query) -> list[str]:
    engine = SQLite(Path(path))
    with closing(engine.connect(writing=False)) as connection:
        text, constants = query.on(engine, {})
        given: dict[str, Any] = dict.fromkeys(re.findall(r":(\w+)", text), 1) | constants
        if "heads" in given:
            given["heads"] = "{}"
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", given)]


def test_no_query_walks_through_a_table_that_grows(sqlite_url: str) -> None:
    found = dict(queries())
    assert len(found) > 25
    walks = [
        (name, step)
        for name, query in found.items()
        for step in plan_on_sqlite(sqlite_url.removeprefix("sqlite:///"), query)
        if step.startswith("SCAN") and not any(step.startswith(f"SCAN {walked}") for walked in WALKED)
    ]
    assert walks == []


BY_INDEX = [(accounts._OF_AGENTS, "ix_accounts_agents"), (rooms._ROOMS_OF, "ix_rooms_listed")]


@pytest.mark.parametrize(("query", "index"), BY_INDEX, ids=["agents", "rooms"])
def test_an_index_of_a_part_of_the_rows_is_used_on_sqlite(sqlite_url: str, query: Query, index: str) -> None:
    assert index in str(plan_on_sqlite(sqlite_url.removeprefix("sqlite:///"), query))


@pytest.mark.parametrize(("query", "index"), BY_INDEX, ids=["agents", "rooms"])
def test_an_index_of_a_part_of_the_rows_is_used_on_postgresql(postgres_url: str, query: Query, index: str) -> None:
    engine = PostgreSQL(postgres_url)
    with closing(engine.connect(writing=False)) as connection:
        connection.execute("SET enable_seqscan = off")  # nothing is in the tables, so nothing would be the quickest
        text, constants = query.on(engine, {})
        given: dict[str, Any] = dict.fromkeys(re.findall(r"%\((\w+)\)", text), "1") | constants
        assert index in str(connection.execute(f"EXPLAIN {text}", given).fetchall())
