"""The writer: one commit for whatever waits, nothing answered before it, and nobody harmed by a neighbour."""

import asyncio
import sqlite3
from typing import Any

import pytest

from parley.domain import accounts, messages, rooms
from parley.domain.errors import Refusal
from parley.domain.principal import OPERATOR
from parley.store.writer import QUEUE_MAX
from tests.stage import somebody
from tests.store.asking import PATIENCE_S, Asking

ADA = somebody("ada")
BEN = somebody("ben")


async def gathered(*answers: Any) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), PATIENCE_S)


@pytest.mark.anyio
async def test_what_waits_is_published_together_before_the_first_answer(store_url: str) -> None:
    async with Asking(store_url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        held = asking.hold_the_writers()
        answers = [asking.write(ADA, messages.Send("hall", str(i))) for i in range(50)]
        asking.told.clear()
        held.release()
        await gathered(*answers)
        kinds = [told[0] for told in asking.told]
        assert kinds == ["published"] + ["answered"] * 50, "one commit, then its answers in their order"
        _, events, changes, signals = asking.told[0]
        assert [event.seq for event in events] == list(range(2, 52))
        assert (changes, signals) == ([], [])
        assert [told[1].text for told in asking.told[1:]] == [str(i) for i in range(50)]


@pytest.mark.anyio
async def test_a_refused_command_in_a_batch_harms_nobody(store_url: str) -> None:
    async with Asking(store_url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        held = asking.hold_the_writers()
        answers = [
            asking.write(who, messages.Send("hall", text))
            for who, text in ((ADA, "one"), (BEN, "not a member"), (ADA, ""), (ADA, "two"))
        ]
        held.release()
        one, stranger, empty, two = await gathered(*answers)
        assert [stranger.code, empty.code] == ["forbidden", "invalid_params"]
        assert [one.reply["message"].seq, two.reply["message"].seq] == [2, 3]


@pytest.mark.anyio
async def test_a_command_that_breaks_is_alone_with_its_exception(store_url: str) -> None:
    async with Asking(store_url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        held = asking.hold_the_writers()
        # A lone surrogate cannot be stored; the codecs refuse it long before, so here it stands for any bug.
        answers = [asking.write(ADA, messages.Send("hall", text)) for text in ("one", "\ud800", "two")]
        held.release()
        one, broken, two = await gathered(*answers)
        assert isinstance(broken, UnicodeEncodeError)
        assert [one.reply["message"].seq, two.reply["message"].seq] == [2, 3]
        page = (await asking.read(ADA, messages.List("hall"))).reply
        assert [message.text for message in page["messages"]] == ["one", "two"]


@pytest.mark.anyio
async def test_what_two_commands_of_a_batch_both_want_only_the_first_gets(store_url: str) -> None:
    async with Asking(store_url) as asking:
        held = asking.hold_the_writers()
        answers = [asking.write(who, rooms.Create(room="hall")) for who in (ADA, BEN)]
        answers += [asking.write(OPERATOR, accounts.Create("Eve", "h", ["member"])) for _ in range(2)]
        held.release()
        first, second, eve, other_eve = await gathered(*answers)
        assert first.reply["room"].role == "owner"
        assert isinstance(second, Refusal)
        assert second.code == "conflict"
        assert eve.reply["account"].username == "Eve"
        assert other_eve.code == "conflict"


@pytest.mark.anyio
async def test_a_row_that_somebody_else_wrote_meanwhile_is_met_alone_and_read(store_url: str) -> None:
    """A unique violation rolls the batch back; one by one, the loser reads the winner."""
    async with Asking(store_url) as asking, Asking(store_url) as other:
        await asking.write(ADA, rooms.Create(room="hall"))
        holds = [asking.hold_the_writers(), other.hold_the_writers()]
        answers = [
            side.write(OPERATOR, accounts.Create(f"name-{i}", "h", ["member"]))
            for i in range(20)
            for side in (asking, other)
        ]
        answers += [
            side.write(ADA, messages.Send("hall", "x", client_id=f"c{i}"))
            for i in range(20)
            for side in (asking, other)
        ]
        for held in holds:
            held.release()
        outcomes = await gathered(*answers)
        made = [outcome for outcome in outcomes[:40] if not isinstance(outcome, BaseException)]
        refused = [outcome for outcome in outcomes[:40] if isinstance(outcome, Refusal)]
        assert (len(made), [refusal.code for refusal in refused]) == (20, ["conflict"] * 20)
        sent = outcomes[40:]
        assert [outcome.reply["duplicate"] for outcome in sent].count(False) == 20
        for i in range(20):
            one, same = sent[2 * i : 2 * i + 2]
            assert one.reply["message"].id == same.reply["message"].id


@pytest.mark.anyio
async def test_a_client_id_sent_from_many_sides_at_once_is_stored_once(store_url: str) -> None:
    async with Asking(store_url) as one, Asking(store_url) as two, Asking(store_url) as three:
        await one.write(ADA, rooms.Create(room="hall"))
        answers = [
            side.write(ADA, messages.Send("hall", f"try {i}", client_id="same"))
            for i in range(30)
            for side in (one, two, three)
        ]
        outcomes = await gathered(*answers)
        assert [outcome.reply["duplicate"] for outcome in outcomes].count(False) == 1
        assert len({outcome.reply["message"].id for outcome in outcomes}) == 1
        assert len({outcome.reply["message"].text for outcome in outcomes}) == 1


@pytest.mark.anyio
async def test_commands_of_one_room_keep_their_order_on_every_engine(store_url: str) -> None:
    async with Asking(store_url) as asking:
        for room in ("a", "b", "c", "d", "e"):
            await asking.write(ADA, rooms.Create(room=room))
        answers = [asking.write(ADA, messages.Send(room, str(i))) for i in range(100) for room in "abcde"]
        outcomes = await gathered(*answers)
        for at, room in enumerate("abcde"):
            mine = [outcome.reply["message"] for outcome in outcomes[at::5]]
            assert [(message.room, message.text) for message in mine] == [(room, str(i)) for i in range(100)]
            assert [message.seq for message in mine] == list(range(2, 102))


@pytest.mark.anyio
async def test_a_full_queue_refuses_and_what_waits_is_still_done(store_url: str) -> None:
    async with Asking(store_url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        held = asking.hold_the_writers()
        answers = [asking.write(ADA, messages.Send("hall", "x")) for _ in range(QUEUE_MAX + 10)]
        held.release()
        outcomes = await gathered(*answers)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
        assert {refusal.code for refusal in refused} == {"overloaded"}
        assert 1 <= len(refused) <= 10
        assert outcomes[-1] is refused[-1]
        last = outcomes[QUEUE_MAX - 10].reply["message"].seq
        assert last == QUEUE_MAX - 10 + 2


@pytest.mark.anyio
async def test_closing_finishes_what_waits_and_refuses_what_comes_after(store_url: str) -> None:
    asking = Asking(store_url)
    await asking.write(ADA, rooms.Create(room="hall"))
    held = asking.hold_the_writers()
    answers = [asking.write(ADA, messages.Send("hall", str(i))) for i in range(700)]
    closing = asyncio.ensure_future(asyncio.to_thread(asking.store.close, PATIENCE_S))
    await asyncio.sleep(0)
    held.release()
    assert await closing
    outcomes = await gathered(*answers)
    assert [outcome.reply["message"].seq for outcome in outcomes] == list(range(2, 702))
    for late in (asking.write(ADA, rooms.Create()), asking.read(ADA, rooms.Get("hall"))):
        (refused,) = await gathered(late)
        assert refused.code == "unavailable"


@pytest.mark.anyio
async def test_a_read_sees_what_was_answered_before_it_was_asked(store_url: str) -> None:
    async with Asking(store_url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        for i in range(60):
            sent = await asking.write(ADA, messages.Send("hall", str(i)))
            pages = await gathered(*(asking.read(ADA, messages.List("hall", limit=1)) for _ in range(3)))
            for page in pages:
                assert page.reply["messages"][-1].id == sent.reply["message"].id


@pytest.mark.anyio
async def test_a_bug_in_one_listener_does_not_keep_others_from_their_answers(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    from parley.domain.ports import Job

    async with Asking(store_url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))

        def broken(outcome: Any) -> None:
            raise ValueError("a bug of whoever listens")

        held = asking.hold_the_writers()
        asking.store.write(Job(messages.Send("hall", "one"), ADA, broken))
        answer = asking.write(ADA, messages.Send("hall", "two"))
        held.release()
        assert (await answer).reply["message"].seq == 3
        assert "An answer could not be given" in caplog.text


@pytest.mark.anyio
async def test_the_writers_own_sqlite_connection_says_what_it_was_told(sqlite_url: str) -> None:
    async with Asking(sqlite_url) as asking:

        def pragmas(connection: sqlite3.Connection) -> dict[str, Any]:
            names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout", "query_only")
            return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

        assert await asking.on_the_writer(pragmas) == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "secure_delete": 1,
            "busy_timeout": 5000,
            "query_only": 0,
        }


@pytest.mark.anyio
async def test_every_postgresql_writer_commits_to_disk_and_cannot_be_waited_for_for_ever(postgres_url: str) -> None:
    async with Asking(postgres_url) as asking:
        names = ("synchronous_commit", "idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")

        def settings(connection: Any) -> list[str]:
            return [connection.execute(f"SHOW {name}".encode()).fetchone()[0] for name in names]

        for thread in range(asking.store.writing_threads):
            # The test server's own default is off.
            assert await asking.on_the_writer(settings, thread=thread) == ["on", "4s", "8s", "12s"]
