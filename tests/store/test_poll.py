"""The poll: which rooms moved, and every change once, in the order of commits and not of ids."""

import asyncio

import psycopg
import pytest

from parley.domain import accounts, members, messages, rooms
from parley.domain.principal import OPERATOR
from tests.stage import Stage, somebody
from tests.store.asking import Asking

ADA = somebody("ada")


@pytest.mark.anyio
async def test_only_rooms_that_are_beyond_the_given_head_are_told(store_url: str) -> None:
    async with Asking(store_url) as asking:
        for room in ("a", "b", "c"):
            await asking.write(ADA, rooms.Create(room=room))
        await asking.write(ADA, messages.Send("b", "x"))
        moved = await asking.poll({"a": 1, "b": 1, "c": 0, "nowhere": 0})
        assert moved.heads == {"b": 2, "c": 1}
        assert (await asking.poll({"a": 1, "b": 2, "c": 1})).heads == {}
        assert (await asking.poll({})).heads == {}


@pytest.mark.anyio
async def test_changes_since_the_opening_are_told_once_whoever_made_them(store_url: str) -> None:
    beside = Stage(store_url)  # as the command line is, beside a server
    ada = beside.account("ada")
    async with Asking(store_url) as asking:
        assert list((await asking.poll({})).changes) == [], "what was before the opening is not told"
        beside.do(OPERATOR, accounts.SetRoles(ada.subject, ["agent"]))
        await asking.write(ADA, rooms.Create(room="hall"))
        await asking.write(ADA, members.Remove("hall", "eve"))
        told = (await asking.poll({})).changes
        assert [(change.kind, change.target, change.detail) for change in told] == [
            ("account", ada.subject, {}),
            ("eviction", "hall", {"subject": "eve", "reason": "removed"}),
        ]
        assert list((await asking.poll({})).changes) == []
    beside.close()


@pytest.mark.anyio
async def test_a_commit_that_comes_late_with_an_early_id_is_not_missed(postgres_url: str) -> None:
    insert = b"INSERT INTO changes (kind, target, at_ms, detail) VALUES ('account', %s, 0, '{}')"
    async with Asking(postgres_url) as asking:
        with psycopg.connect(postgres_url) as slow, psycopg.connect(postgres_url) as quick:
            slow.execute(insert, ("first by id",))
            quick.execute(insert, ("second by id",))
            quick.commit()
            assert [change.target for change in (await asking.poll({})).changes] == ["second by id"]
            assert list((await asking.poll({})).changes) == []
            slow.commit()
            assert [change.target for change in (await asking.poll({})).changes] == ["first by id"]
            assert list((await asking.poll({})).changes) == []


@pytest.mark.anyio
async def test_a_transaction_that_was_open_at_the_opening_is_told_when_it_commits(postgres_url: str) -> None:
    insert = b"INSERT INTO changes (kind, target, at_ms, detail) VALUES ('account', %s, 0, '{}')"
    with psycopg.connect(postgres_url) as open_before, psycopg.connect(postgres_url) as quick:
        open_before.execute(insert, ("open at the opening",))
        quick.execute(insert, ("before the opening",))
        quick.commit()
        async with Asking(postgres_url) as asking:
            open_before.commit()
            assert [change.target for change in (await asking.poll({})).changes] == ["open at the opening"]


@pytest.mark.anyio
async def test_changes_are_kept_for_a_day(store_url: str) -> None:
    stage = Stage(store_url)
    ada = stage.account("ada")
    stage.clock.forward(s=25 * 3600)
    stage.do(OPERATOR, accounts.SetRoles(ada.subject, ["agent"]))
    async with Asking(store_url) as asking:

        def kept(connection: object) -> int:
            cursor = connection.cursor()  # type: ignore[attr-defined]
            cursor.execute("SELECT count(*) FROM changes")
            return int(cursor.fetchone()[0])

        assert await asking.on_the_writer(kept) == 1
    stage.close()


@pytest.mark.anyio
async def test_one_poll_tells_of_a_thousand_rooms(store_url: str) -> None:
    async with Asking(store_url) as asking:
        names = [f"room-{i:04}" for i in range(2000)]
        await asyncio.gather(*(asking.write(ADA, rooms.Create(room=name)) for name in names))
        moved = await asking.poll({name: i % 2 for i, name in enumerate(names)})
        assert moved.heads == dict.fromkeys(names[::2], 1)
