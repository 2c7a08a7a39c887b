"""A scene with a helpdesk: visitors who begin, agents who answer, built by commands alone."""

from typing import Any

from parley.domain import beginnings, claims, departments
from parley.domain.beginnings import Begin, VerifiedStart, Vouched
from parley.domain.ports import Decision
from parley.domain.principal import OPERATOR, Principal
from parley.domain.transcripts import Get
from tests.stage import Stage, somebody

FOR_EVER = 2**50


class Helpdesk:
    """Agents `ava` and `bo`, an admin who is none, a member, and a visitor's conversation for each `begin`."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ava = stage.account("ava", "agent")
        self.bo = stage.account("bo", "agent")
        self.root = stage.account("root", "admin")
        self.ada = stage.account("ada")

    def begin(self, *, vouched: Vouched | None = None, **start: Any) -> Principal:
        """A guest, as the bearer of the token that its conversation gives it."""
        return self.guest_of(self.begun(vouched=vouched, **start))

    def begun(self, *, vouched: Vouched | None = None, **start: Any) -> Decision:
        params = Begin(VerifiedStart(**start, vouched=vouched), FOR_EVER, "Browser/1", "192.0.2.1")
        return self.stage.decide(OPERATOR, params)

    def guest_of(self, decision: Decision) -> Principal:
        begun: beginnings.Begun = decision.reply
        return somebody(
            begun.session.subject,
            "guest",
            name=begun.conversation.visitor.name or begun.session.subject,
            type="guest",
            conversation=begun.conversation.id,
            department=begun.conversation.department,
            kept=True,
        )

    def department(self, name: str) -> str:
        made: str = self.stage.do(self.root, departments.Create(name))["department"]["id"]
        return made

    def get(self, conversation: str | None) -> Any:
        return self.stage.do(self.ava, Get(of(conversation)))["conversation"]

    def claimed(self, by: Principal, **start: Any) -> Principal:
        """A guest whose conversation this agent has."""
        guest = self.begin(**start)
        self.stage.do(by, claims.Claim(of(guest.conversation)))
        return guest


def of(conversation: str | None) -> str:
    assert conversation is not None
    return conversation
