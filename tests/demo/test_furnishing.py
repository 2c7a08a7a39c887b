"""The demo is furnished once; what its people did since stays as they left it."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from parley.demo.furnishing import ROOM, furnish
from parley.domain import accounts, members, rooms
from parley.domain.principal import OPERATOR
from parley.store import Store, open_store


def opened(url: str) -> Store:
    return open_store(url, clock_ms=lambda: time.time_ns() // 1_000_000, random_bytes=os.urandom)


def ben(store: Store) -> Any:
    return store.execute(accounts.Find(name="ben")).reply


@pytest.mark.parametrize("what", ["disabled", "banned", "removed", "archived"])
def test_a_second_start_follows_whatever_was_done(sqlite_url: str, what: str, tmp_path: Path) -> None:
    store = opened(sqlite_url)
    furnish(store, lambda password: f"hash of {password}")
    subject = ben(store).id
    if what == "disabled":
        store.execute(accounts.Disable(account=subject))
    else:
        store.execute(members.Remove(room=ROOM, subject=subject, ban=what == "banned"))
    if what == "archived":
        store.execute(rooms.Archive(room=ROOM))
    before = store.execute(members.Members(room=ROOM)).reply["members"]
    store.close()

    store = opened(sqlite_url)
    furnish(store, lambda password: f"hash of {password}")
    assert store.execute(members.Members(room=ROOM), OPERATOR).reply["members"] == before
    store.close()
