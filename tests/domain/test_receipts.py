"""Receipts: they only move forward, write no event, and are told by a signal (CONTRACT section 3)."""

import pytest

from parley.domain import members, messages, receipts, rooms
from parley.domain.principal import Principal
from tests.domain.helpdesk import Helpdesk, of
from tests.stage import Stage, as_json


@pytest.fixture
def ada(stage: Stage) -> Principal:
    ada = stage.account("ada")
    stage.do(ada, rooms.Create(room="hall"))
    for text in ("one", "two", "three"):
        stage.do(ada, messages.Send("hall", text))
    return ada


def test_a_receipt_moves_forward_only_and_is_no_event(stage: Stage, ada: Principal) -> None:
    ben = stage.account("ben")
    stage.do(ben, members.Join("hall"))
    stage.do(ben, receipts.Mark("hall", 3))
    stage.clock.forward(s=5)
    told = stage.decide(ben, receipts.Mark("hall", 4))
    (signal,) = told.signals
    assert as_json(signal) == {
        "room": "hall",
        "type": "receipts.changed",
        "at": "2027-01-15T08:00:05.000Z",
        "data": {"receipts": [{"subject": ben.subject, "seq": 4, "at": "2027-01-15T08:00:05.000Z"}]},
    }
    for seq in (4, 2):
        again = stage.decide(ben, receipts.Mark("hall", seq))
        assert (again.reply, again.signals, again.events) == ({}, (), ())
    assert stage.do(ada, receipts.List("hall"))["receipts"] == [
        {"subject": ben.subject, "seq": 4, "at": "2027-01-15T08:00:05.000Z"}
    ]
    assert stage.types("hall")[-1] == "member.joined"


def test_who_is_gone_is_listed_no_more_and_comes_back_where_they_had_read(stage: Stage, ada: Principal) -> None:
    ben = stage.account("ben")
    stage.do(ben, members.Join("hall"))
    stage.do(ben, receipts.Mark("hall", 3))
    stage.do(ben, members.Leave("hall"))
    assert stage.do(ada, receipts.List("hall")) == {"receipts": []}
    stage.do(ben, members.Join("hall"))
    assert [one["seq"] for one in stage.do(ada, receipts.List("hall"))["receipts"]] == [3]


def test_in_a_conversation_those_of_its_visitor_and_of_agents_are_listed(stage: Stage) -> None:
    desk = Helpdesk(stage)
    guest = desk.begin(message="hello")
    for who, seq in ((guest, 1), (desk.ava, 2)):
        stage.do(who, receipts.Mark(of(guest.conversation), seq))
    listed = stage.do(desk.bo, receipts.List(of(guest.conversation)))["receipts"]
    assert {one["subject"]: one["seq"] for one in listed} == {guest.subject: 1, desk.ava.subject: 2}


def test_beyond_the_log_is_no_receipt(stage: Stage, ada: Principal) -> None:
    refusal = stage.refusal(ada, receipts.Mark("hall", 5))
    assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "seq"})
    stage.do(ada, receipts.Mark("hall", 4))


def test_only_members_mark_and_see_receipts(stage: Stage, ada: Principal) -> None:
    cid = stage.account("cid")
    assert stage.refused(cid, receipts.Mark("hall", 1)) == "forbidden"
    assert stage.refused(cid, receipts.List("hall")) == "forbidden"
