"""Agents: who answers visitors, how many at once, and whether they are there. Holds `agent.*`.

An agent is an account with that role; the row here is what it says of itself, and when it was last seen. Who is seen is
told by `service/queue.py`, for every connection of every node.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from parley.domain.accounts import Account, named
from parley.domain.errors import Refusal
from parley.domain.events import Signal
from parley.domain.ids import rfc3339
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Row, Transaction

Status = Literal["available", "away"]
#: What an agent does is noted no more often than this: a row is not written for each message.
SEEN_EVERY_MS: Final = 10_000
#: The room of those who answer.
QUEUE: Final = "queue"


class Agent(Row):
    """`capacity` is how many open conversations they take, None for the setting's; `away_at_ms` is set while away."""

    KEY: ClassVar = ("subject",)
    subject: str
    name: str
    capacity: int | None
    away_at_ms: int | None
    seen_at_ms: int

    @property
    def status(self) -> Status:
        return "available" if self.away_at_ms is None else "away"

    def gone_since_ms(self) -> int:
        """Since when they are not to be counted on, if they are gone at all."""
        return self.seen_at_ms if self.away_at_ms is None else min(self.seen_at_ms, self.away_at_ms)


class AgentView(Struct):
    """`conversations` counts those that are open with them; `online` is whether they were seen within the setting."""

    subject: str
    name: str
    status: Status
    capacity: int
    conversations: int
    online: bool


class SetStatus(Params):
    status: Status
    capacity: Annotated[int, Meta(ge=0, le=1000)] | None = None


class List(Params):
    pass


class Seen(Params):
    """Not on the wire: agents who are connected now, as (subject, name)."""

    agents: Sequence[tuple[str, str]]


def set_status(tx: Transaction, p: SetStatus, who: Acting) -> Decision:
    require_agent(who)
    agent = tx.get(Agent, who.subject)
    if agent is None:
        agent = Agent(subject=who.subject, name=who.principal.name, capacity=None, away_at_ms=None, seen_at_ms=0)
        tx.add(agent)
    else:
        tx.save(agent)
    agent.seen_at_ms = who.now_ms
    before = agent.status, agent.capacity
    if p.status != agent.status:
        agent.away_at_ms = who.now_ms if p.status == "away" else None
    if p.capacity is not None:
        agent.capacity = p.capacity
    view = _view(agent, who, tx.open_with(agent.subject))
    if before == (agent.status, agent.capacity):
        return Decision({"agent": view})
    # Nobody needs to know tomorrow who was away today: a signal to those who look, and no event.
    told = Signal(QUEUE, "agent.changed", rfc3339(who.now_ms), {"agent": view})
    return Decision({"agent": view}, signals=[told])


def list_agents(tx: Transaction, p: List, who: Acting) -> Decision:
    opened = tx.open_conversations()
    return Decision({"agents": [_view(agent, who, opened.get(agent.subject, 0)) for agent in everybody(tx)]})


def seen(tx: Transaction, p: Seen, who: Acting) -> Decision:
    for subject, name in sorted(p.agents):
        _note(tx, subject, name, who.now_ms)
    return Decision(None)


def touch(tx: Transaction, who: Acting) -> None:
    """The one who acts, an agent, does something: so they are there."""
    _note(tx, who.subject, who.principal.name, who.now_ms)


def require_agent(who: Acting) -> None:
    """Raise `forbidden` for everybody else, admins who are no agents included."""
    if not who.is_agent:
        raise Refusal("forbidden", "Only an agent may do this.")


def everybody(tx: Transaction) -> list[Agent]:
    """The accounts with the role and those seen as agents, by name; who is disabled is none."""
    found = {agent.subject: agent for agent in tx.agents()}
    for account in tx.accounts_of_agents():
        if account.id not in found:
            found[account.id] = _unseen(account.id, account.name)
    tx.load(Account, found)
    return sorted((a for a in found.values() if _may_answer(tx, a.subject)), key=lambda a: (a.name, a.subject))


def existing(tx: Transaction, subject_or_username: str) -> Agent | None:
    """Somebody who may answer visitors, as the row they have or would have; None for anybody else."""
    subject, name = named(tx, subject_or_username)
    if not _may_answer(tx, subject):
        return None
    agent = tx.get(Agent, subject)
    if agent is not None:
        return agent
    account = tx.get(Account, subject)
    return _unseen(subject, name) if account is not None and "agent" in account.role_set else None


def seen_since_ms(who: Acting) -> int:
    """Who was seen since then is here."""
    return who.now_ms - int(max(who.rules.return_after_s, 60) * 1000)


def capacity_of(agent: Agent | None, who: Acting) -> int:
    return who.rules.capacity if agent is None or agent.capacity is None else agent.capacity


def _may_answer(tx: Transaction, subject: str) -> bool:
    account = tx.get(Account, subject)
    if account is None or account.username is None:  # of another issuer: its roles come with each token
        return account is None or not account.disabled
    return not account.disabled and "agent" in account.role_set


def _note(tx: Transaction, subject: str, name: str, now_ms: int) -> None:
    agent = tx.get(Agent, subject)
    if agent is None:
        tx.add(Agent(subject=subject, name=name, capacity=None, away_at_ms=None, seen_at_ms=now_ms))
    elif now_ms - agent.seen_at_ms >= SEEN_EVERY_MS or agent.name != name:
        agent.seen_at_ms, agent.name = now_ms, name
        tx.save(agent)


def _unseen(subject: str, name: str) -> Agent:
    return Agent(subject=subject, name=name, capacity=None, away_at_ms=None, seen_at_ms=0)


def _view(agent: Agent, who: Acting, conversations: int) -> AgentView:
    online = agent.seen_at_ms >= seen_since_ms(who)
    return AgentView(agent.subject, agent.name, agent.status, capacity_of(agent, who), conversations, online)
