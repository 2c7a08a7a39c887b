"""The lease is one holder's, whoever asks at the same moment, through two writers on one database."""

import asyncio
from collections import Counter

import pytest

from parley.domain.errors import Refusal
from parley.domain.leases import Cut, End, Keep, Take
from parley.domain.ports import Decision
from parley.domain.principal import OPERATOR
from parley.domain.streams import Create, Get, SetPublishers
from tests.stage import Stage, somebody
from tests.store.asking import Asking

pytestmark = pytest.mark.anyio

PUBLISHERS = [somebody(f"publisher-{i}", name=f"P{i}") for i in range(8)]


async def test_of_many_who_ask_at_once_one_gets_it_each_time_it_is_free(store_url: str) -> None:
    stage = Stage(store_url)
    owner = somebody("owner")
    stage.do(owner, Create("show"))
    stage.do(owner, SetPublishers("show", [each.subject for each in PUBLISHERS]))
    fences = []
    async with Asking(store_url) as one, Asking(store_url) as two:
        for _ in range(5):
            held = [one.hold_the_writers(), two.hold_the_writers()]
            answers = [side.write(each, Take("show")) for each in PUBLISHERS for side in (one, two)]
            for hold in held:
                hold.release()
            outcomes = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 60)
            codes = Counter(o.code if isinstance(o, Refusal) else type(o).__name__ for o in outcomes)
            assert codes == {"Decision": 1, "already_live": 2 * len(PUBLISHERS) - 1}
            (lease,) = [o.reply for o in outcomes if isinstance(o, Decision)]
            assert (await one.write(OPERATOR, Keep("show", lease.fence))).reply is True
            fences.append(lease.fence)
            assert (await two.write(OPERATOR, End("show", lease.fence))).reply is True
    assert fences == sorted(set(fences)), "each lease has a later fence"
    stage.close()


async def test_the_one_who_was_cut_off_and_a_stranger_ask_at_once(store_url: str) -> None:
    stage = Stage(store_url)
    ada, root = somebody("ada"), somebody("root", "admin")
    stage.do(ada, Create("show"))
    async with Asking(store_url) as one, Asking(store_url) as two:
        fence = (await one.write(ada, Take("show"))).reply.fence
        await one.write(OPERATOR, Cut("show", fence))
        held = [one.hold_the_writers(), two.hold_the_writers()]
        answers = [two.write(root, Take("show")), one.write(ada, Take("show")), two.write(ada, Take("show"))]
        for hold in held:
            hold.release()
        outcomes = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 60)
        assert isinstance(outcomes[0], Refusal)
        assert [type(outcome).__name__ for outcome in outcomes[1:]].count("Decision") == 1
        shown = (await one.read(OPERATOR, Get("show"))).reply["stream"]
        assert shown.broadcaster.subject == "ada"
    stage.close()
