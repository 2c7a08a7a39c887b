"""Blocking a visitor: what ends, and what no longer begins."""

from parley.domain import beginnings, messages, transcripts
from parley.domain.blocks import Block, Unblock
from parley.domain.closings import Close, Rate
from parley.domain.principal import OPERATOR
from parley.domain.revocation import InForce, Revocation
from tests.domain.helpdesk import Helpdesk, of
from tests.stage import Stage


class TestBlocking:
    def test_it_revokes_the_visitors_tokens_and_unblocking_lifts_that(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.claimed(desk.ava).conversation)
        decision = stage.decide(desk.ava, Block(conversation, "spam"))
        (change,) = decision.changes
        assert (change.kind, change.target, change.detail["reason"]) == (
            "revocation",
            f"conversation:{conversation}",
            "spam",
        )
        assert desk.get(conversation)["blocked"] is True
        assert stage.decide(desk.ava, Block(conversation)).changes == ()
        (lifted,) = stage.decide(desk.ava, Unblock(conversation)).changes
        assert (lifted.kind, lifted.target) == ("lift", f"conversation:{conversation}")
        assert desk.get(conversation)["blocked"] is False
        assert stage.decide(desk.ava, Unblock(conversation)).changes == ()

    def test_an_account_is_shut_up_in_that_conversation(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = stage.do(desk.ada, beginnings.Start())["conversation"]["id"]
        stage.do(desk.ava, Block(conversation))
        for params in (messages.Send(conversation, "x"), Rate(conversation, 1), Close(conversation)):
            assert stage.refused(desk.ada, params) == "forbidden"
        assert stage.do(desk.ada, transcripts.Get(conversation))

    def test_the_store_forgets_the_revocation_when_it_is_lifted(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.begin().conversation)
        stage.do(desk.ava, Block(conversation))
        (row,) = stage.decide(OPERATOR, InForce()).reply
        assert isinstance(row, Revocation)
        stage.do(desk.ava, Unblock(conversation))
        assert stage.decide(OPERATOR, InForce()).reply == []
