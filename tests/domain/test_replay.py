"""Reading a log back: pages, epochs, and that a replay never shows what was deleted (CONTRACT section 3)."""

from typing import Any

import pytest

from parley.domain import messages, replay, rooms
from parley.domain.ports import Rules
from parley.domain.principal import Principal
from tests.stage import Stage


@pytest.fixture
def ada(stage: Stage) -> Principal:
    """The owner of `hall`, whose log is `member.joined` and nine messages."""
    ada = stage.account("ada")
    stage.do(ada, rooms.Create(room="hall"))
    for i in range(2, 11):
        stage.do(ada, messages.Send("hall", str(i)))
    return ada


def seqs(page: Any) -> list[int]:
    return [event["seq"] for event in page["events"]]


class TestEventList:
    def test_pages_lead_to_the_head(self, stage: Stage, ada: Principal) -> None:
        page = stage.do(ada, replay.EventList("hall", after=0, limit=4))
        assert (seqs(page), page["complete"], page["reset"]) == ([1, 2, 3, 4], False, False)
        assert page["epoch"] == stage.store.epoch
        page = stage.do(ada, replay.EventList("hall", after=4, epoch=page["epoch"], limit=6))
        assert (seqs(page), page["complete"]) == ([5, 6, 7, 8, 9, 10], True)
        page = stage.do(ada, replay.EventList("hall", after=10))
        assert (seqs(page), page["complete"], page["reset"]) == ([], True, False)

    def test_a_foreign_epoch_or_a_seq_beyond_the_head_resets_to_the_newest_page(
        self, stage: Stage, ada: Principal
    ) -> None:
        for params in (
            replay.EventList("hall", after=3, epoch="other", limit=4),
            replay.EventList("hall", after=11, limit=4),
        ):
            page = stage.do(ada, params)
            assert (seqs(page), page["complete"], page["reset"]) == ([7, 8, 9, 10], True, True)


class TestSubscribe:
    def test_without_after_nothing_is_replayed(self, stage: Stage, ada: Principal) -> None:
        answer = stage.do(ada, replay.Subscribe("hall"))
        assert answer["reply"] == {
            "room": "hall",
            "epoch": stage.store.epoch,
            "seq": 10,
            "events": [],
            "complete": True,
            "reset": False,
        }

    def test_with_after_the_events_since_and_who_reads_them(self, stage: Stage, ada: Principal) -> None:
        answer = stage.do(ada, replay.Subscribe("hall", after=8, epoch=stage.store.epoch))
        assert (answer["role"], answer["public"]) == ("owner", True)
        reply = answer["reply"]
        assert (reply["seq"], seqs(reply), reply["complete"], reply["reset"]) == (10, [9, 10], True, False)

    def test_more_than_a_page_says_where_to_go_on(self, store_url: str) -> None:
        stage = Stage(store_url, Rules(replay_bytes=500))
        ada = stage.account("ada")
        stage.do(ada, rooms.Create(room="hall"))
        for _ in range(3):
            stage.do(ada, messages.Send("hall", "x" * 300))
        reply = stage.do(ada, replay.Subscribe("hall", after=1))["reply"]
        assert (seqs(reply), reply["seq"], reply["complete"]) == ([2], 2, False)
        stage.close()

    def test_a_foreign_epoch_resets(self, stage: Stage, ada: Principal) -> None:
        for after in (None, 4):
            reply = stage.do(ada, replay.Subscribe("hall", after=after, epoch="other"))["reply"]
            assert (len(reply["events"]), reply["complete"], reply["reset"]) == (10, True, True)

    def test_who_may_not_read_may_not_subscribe(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        assert stage.refused(stage.account("ben"), replay.Subscribe("den")) == "not_found"


def test_a_page_is_bounded_in_bytes_but_holds_at_least_one(store_url: str) -> None:
    stage = Stage(store_url, Rules(replay_bytes=3000))
    ada = stage.account("ada")
    stage.do(ada, rooms.Create(room="hall"))
    for text in ("x" * 1000, "y" * 1000, "z" * 5000, "w"):
        stage.do(ada, messages.Send("hall", text))
    pages = []
    after = 0
    while True:
        page = stage.do(ada, replay.EventList("hall", after=after))
        pages.append(seqs(page))
        if page["complete"]:
            break
        after = pages[-1][-1]
    assert pages == [[1, 2], [3], [4], [5]]
    newest = stage.do(ada, replay.EventList("hall", after=9))
    assert (seqs(newest), newest["reset"]) == ([5], True)
    stage.close()
