"""Claims are fair: 50 agents at 200 conversations at once, through two writers on one database."""

import asyncio
import random
from collections import Counter

import pytest

from parley.domain import messages, transcripts
from parley.domain.beginnings import Begin, VerifiedStart
from parley.domain.claims import Claim
from parley.domain.closings import Close
from parley.domain.errors import Refusal
from parley.domain.ports import Decision
from parley.domain.principal import OPERATOR
from tests.lengths import LONG
from tests.stage import Stage, somebody
from tests.store.asking import Asking

AGENTS = 50
CONVERSATIONS = 200
CAPACITY = 10  # the setting's default


@pytest.mark.anyio
@pytest.mark.timeout(180)
async def test_fifty_agents_claim_two_hundred_conversations_at_once(store_url: str) -> None:
    """Everybody goes for everything: each is claimed once, nobody has more than they may, nothing is left over."""
    stage = Stage(store_url)
    begun = stage.together(*[(OPERATOR, Begin(VerifiedStart(), 2**50, None, None)) for _ in range(CONVERSATIONS)])
    ids = [outcome.reply.conversation.id for outcome in begun if isinstance(outcome, Decision)]
    assert len(ids) == CONVERSATIONS
    crowd = [somebody(f"agent-{i}", "agent") for i in range(AGENTS)]
    wanted = [(agent, conversation) for agent in crowd for conversation in ids]
    random.Random(7).shuffle(wanted)
    wanted = wanted if LONG else wanted[: 10 * CONVERSATIONS]  # each is wanted by about ten
    async with Asking(store_url) as one, Asking(store_url) as two:
        held = [one.hold_the_writers(), two.hold_the_writers()]
        answers = [
            (one, two)[i % 2].write(agent, Claim(conversation)) for i, (agent, conversation) in enumerate(wanted)
        ]
        for hold in held:
            hold.release()
        outcomes = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 120)
    codes = Counter(
        o.code if isinstance(o, Refusal) else "claimed" if isinstance(o, Decision) else repr(o) for o in outcomes
    )
    assert set(codes) <= {"claimed", "already_claimed", "limit_exceeded"}, codes
    won = {c: a.subject for (a, c), o in zip(wanted, outcomes, strict=True) if isinstance(o, Decision)}
    assert codes["claimed"] == len(won) >= CONVERSATIONS - codes["limit_exceeded"], "each was claimed once"
    assert max(Counter(won.values()).values()) <= CAPACITY
    for conversation, subject in won.items():
        shown = stage.do(OPERATOR, transcripts.Get(conversation))["conversation"]
        assert (shown["status"], shown["assignee"]) == ("open", subject)
    queue = stage.log("queue")
    assert [event["seq"] for event in queue] == list(range(1, CONVERSATIONS + len(won) + 1)), "without holes"
    stage.close()


@pytest.mark.anyio
@pytest.mark.timeout(180)
async def test_nobody_is_over_capacity_however_many_they_claim_at_once(store_url: str) -> None:
    stage = Stage(store_url)
    begun = stage.together(*[(OPERATOR, Begin(VerifiedStart(), 2**50, None, None)) for _ in range(40)])
    ids = [outcome.reply.conversation.id for outcome in begun if isinstance(outcome, Decision)]
    ava, bo = somebody("ava", "agent"), somebody("bo", "agent")
    async with Asking(store_url) as one, Asking(store_url) as two:
        held = [one.hold_the_writers(), two.hold_the_writers()]
        answers = [side.write(who, Claim(c)) for c in ids for side, who in ((one, ava), (two, ava), (two, bo))]
        for hold in held:
            hold.release()
        await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 60)
    for who in (ava, bo):
        mine = stage.do(OPERATOR, transcripts.List(status="open", assignee=who.subject, limit=200))["conversations"]
        assert len(mine) == CAPACITY
    stage.close()


@pytest.mark.anyio
@pytest.mark.timeout(180)
async def test_messages_closing_and_reopening_beside_each_other_leave_no_hole_and_no_deadlock(store_url: str) -> None:
    """What a visitor writes reopens what an agent closes, from two writers: the late lock of the queue is the last."""
    stage = Stage(store_url)
    begun = stage.together(*[(OPERATOR, Begin(VerifiedStart(), 2**50, None, None)) for _ in range(6)])
    found = [outcome.reply for outcome in begun if isinstance(outcome, Decision)]
    ava = somebody("ava", "agent")
    guests = [somebody(b.session.subject, "guest", type="guest", conversation=b.conversation.id) for b in found]
    async with Asking(store_url) as one, Asking(store_url) as two:
        answers = []
        for i in range(15):
            for guest in guests:
                assert guest.conversation is not None
                answers.append(one.write(guest, messages.Send(guest.conversation, f"{i}")))
                answers.append(two.write(ava, Close(guest.conversation)))
            await asyncio.sleep(0)
        outcomes = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 90)
    assert all(isinstance(outcome, Decision) for outcome in outcomes), outcomes
    for room in (*[b.conversation.id for b in found], "queue"):
        log = stage.log(room)
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    stage.close()
