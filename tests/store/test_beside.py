"""Writers beside each other: each decides on what the other has committed, and overwrites nothing of it."""

import asyncio
from typing import Any

import pytest

from parley.domain import accounts, members, messages, receipts, rooms, sign_ins, tickets
from parley.domain.accounts import Account
from parley.domain.errors import Refusal
from parley.domain.principal import OPERATOR
from tests.stage import Stage, somebody
from tests.store.asking import PATIENCE_S, Asking

ADA = somebody("ada")
BEN = somebody("ben")


async def race(sides: tuple[Asking, ...], count: int, who: Any, params: Any) -> list[Any]:
    """The same command from every side at once, several times."""
    holds = [side.hold_the_writers() for side in sides]
    answers = [side.write(who, params) for _ in range(count) for side in sides]
    for held in holds:
        held.release()
    return await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), PATIENCE_S)


@pytest.mark.anyio
async def test_a_writer_that_knows_its_rows_sees_at_once_what_somebody_else_wrote(store_url: str) -> None:
    """On SQLite a writer keeps rows from one batch to the next, for as long as nobody else commits."""
    beside = Stage(store_url)
    async with Asking(store_url) as asking:
        ada = beside.account("ada")
        await asking.write(ada, rooms.Create(room="hall"))
        await asking.write(BEN, members.Join("hall"))
        for i in range(3):
            await asking.write(BEN, messages.Send("hall", str(i)))
        beside.do(ada, messages.Send("hall", "from beside"))
        sent = await asking.write(BEN, messages.Send("hall", "after it"))
        assert sent.reply["message"].seq == 7
        beside.do(OPERATOR, members.Remove("hall", BEN.subject, ban=True))
        with pytest.raises(Refusal) as refused:
            await asking.write(BEN, messages.Send("hall", "banned by now"))
        assert refused.value.code == "banned"
        beside.do(OPERATOR, members.Invite("hall", BEN.subject))
        assert (await asking.write(BEN, messages.Send("hall", "back"))).reply["message"].seq == 10
        beside.do(OPERATOR, accounts.Disable(ada.subject))
        with pytest.raises(Refusal) as refused:
            await asking.write(ada, messages.Send("hall", "disabled by now"))
        assert refused.value.code == "token_revoked"
    beside.close()


@pytest.mark.anyio
async def test_two_who_change_different_things_of_one_account_both_succeed(store_url: str) -> None:
    stage = Stage(store_url)
    names = [f"name-{i}" for i in range(30)]
    people = [stage.account(name) for name in names]
    async with Asking(store_url) as one, Asking(store_url) as two:
        answers = []
        for who in people:
            answers.append(
                one.write(who, accounts.SetPassword("new-hash"))
            )  # names no account: its bearer's is not locked
            answers.append(two.write(OPERATOR, accounts.SetRoles(who.subject, ["agent"])))
        await asyncio.wait_for(asyncio.gather(*answers), PATIENCE_S)
    for name in names:
        row = stage.decide(OPERATOR, accounts.Find(name)).reply
        assert isinstance(row, Account)
        assert (row.password_hash, row.roles) == ("new-hash", '["agent"]')
    stage.close()


@pytest.mark.anyio
async def test_of_a_refresh_token_used_many_times_at_once_there_is_one_successor(store_url: str) -> None:
    stage = Stage(store_url)
    ada = stage.account("ada")
    async with Asking(store_url) as one, Asking(store_url) as two:
        start = sign_ins.Start(ada.subject, 2**50, None, None)
        session, _ = (await one.write(OPERATOR, start)).reply
        outcomes = await race((one, two), 20, OPERATOR, sign_ins.Refresh(session.id, 0, 2**50))
        assert {(outcome.reply.session.generation, outcome.reply.stolen) for outcome in outcomes} == {(1, False)}
    stage.close()


@pytest.mark.anyio
async def test_a_ticket_is_used_once_however_many_try(store_url: str) -> None:
    async with Asking(store_url) as one, Asking(store_url) as two:
        await one.write(OPERATOR, tickets.Mint("d" * 64, "{}", 2**50))
        outcomes = await race((one, two), 20, OPERATOR, tickets.Redeem("d" * 64))
        used = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert len(used) == 1
        assert {outcome.code for outcome in outcomes if isinstance(outcome, Refusal)} == {"ticket_invalid"}


@pytest.mark.anyio
async def test_the_last_of_two_owners_stays_whoever_leaves_first(store_url: str) -> None:
    async with Asking(store_url) as one, Asking(store_url) as two:
        for i in range(10):
            room = f"room-{i}"
            await one.write(ADA, rooms.Create(room=room))
            await one.write(ADA, members.Invite(room, BEN.subject, role="owner"))
            holds = [one.hold_the_writers(), two.hold_the_writers()]
            answers = [one.write(ADA, members.Leave(room)), two.write(BEN, members.Leave(room))]
            for held in holds:
                held.release()
            outcomes = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), PATIENCE_S)
            refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
            assert [refusal.code for refusal in refusals] == ["conflict"]


@pytest.mark.anyio
async def test_a_receipt_marked_from_two_sides_keeps_the_farther(store_url: str) -> None:
    async with Asking(store_url) as one, Asking(store_url) as two:
        await one.write(ADA, rooms.Create(room="hall"))
        for i in range(30):
            await one.write(ADA, messages.Send("hall", str(i)))
        answers = [side.write(ADA, receipts.Mark("hall", seq)) for seq in range(1, 31) for side in (one, two)]
        await asyncio.wait_for(asyncio.gather(*answers), PATIENCE_S)
        listed = (await one.read(ADA, receipts.List("hall"))).reply["receipts"]
        assert [(receipt.subject, receipt.seq) for receipt in listed] == [("ada", 30)]
