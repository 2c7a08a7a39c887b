"""Claims: who has a conversation. Holds `conversation.claim`, `.assign` and `.transfer`, and what gives one back.

Of any number who claim at once one wins, and nobody has more open ones than their capacity: whoever moves a
conversation holds the queue's row.
"""

from typing import Annotated

from msgspec import Meta

from parley.domain import agents, conversations, departments
from parley.domain.conversations import About, Conversation
from parley.domain.errors import Refusal, invalid_params
from parley.domain.ids import Subject
from parley.domain.params import Params, Reason
from parley.domain.ports import Acting, Decision, Transaction


class Claim(About):
    pass


class Assign(About):
    agent: Subject
    reason: Reason | None = None


class Transfer(About):
    department: Annotated[str, Meta(min_length=1, max_length=100)]
    reason: Reason | None = None


class Abandoned(Params):
    """Not on the wire: the open conversations whose agent is gone for too long; their ids."""


class Return(About):
    """Not on the wire: give a conversation back to the queue, if its agent is still gone."""


def claim(tx: Transaction, p: Claim, who: Acting) -> Decision:
    c = conversations.readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    if c.status == "open" and c.assignee == who.subject:
        return conversations.answer(tx, c, who)
    step = conversations.step_of(c, "claim")
    assert step is not None
    agent = tx.get(agents.Agent, who.subject)
    _require_capacity(tx, who, who.subject, agent)
    agents.touch(tx, who)
    agent = tx.get(agents.Agent, who.subject)
    return conversations.answer(tx, c, who, conversations.walk(tx, c, who, step, to_agent=agent))


def assign(tx: Transaction, p: Assign, who: Acting) -> Decision:
    c = _as_staff(tx, p.conversation, who)
    agent = agents.existing(tx, p.agent)
    if agent is None:
        raise invalid_params("agent", "There is no agent of this name.")
    step = conversations.step_of(c, "assign")
    if step is None or (c.status == "open" and c.assignee == agent.subject):
        return conversations.answer(tx, c, who)
    _require_capacity(tx, who, agent.subject, agent)
    return conversations.answer(tx, c, who, conversations.walk(tx, c, who, step, to_agent=agent, reason=p.reason))


def transfer(tx: Transaction, p: Transfer, who: Acting) -> Decision:
    c = _as_staff(tx, p.conversation, who)
    department = departments.find(tx, p.department).id
    step = conversations.step_of(c, "transfer")
    if step is None or (c.status == "queued" and c.department == department):
        return conversations.answer(tx, c, who)
    return conversations.answer(
        tx, c, who, conversations.walk(tx, c, who, step, department=department, reason=p.reason)
    )


def abandoned(tx: Transaction, p: Abandoned, who: Acting) -> Decision:
    return Decision(tx.abandoned(who.now_ms - int(who.rules.return_after_s * 1000)))


def give_back(tx: Transaction, p: Return, who: Acting) -> Decision:
    c = tx.get(Conversation, p.conversation)
    if c is None or c.assignee is None or c.assigned_at_ms is None:
        return Decision(False)
    agent = tx.get(agents.Agent, c.assignee)
    gone_since_ms = c.assigned_at_ms if agent is None else max(c.assigned_at_ms, agent.gone_since_ms())
    if gone_since_ms >= who.now_ms - who.rules.return_after_s * 1000:
        return Decision(False)
    step = conversations.step_of(c, "return")
    return Decision(step is not None, [] if step is None else conversations.walk(tx, c, who, step))


def _as_staff(tx: Transaction, conversation_id: str, who: Acting) -> Conversation:
    c = conversations.readable_conversation(tx, conversation_id, who)
    if not who.is_agent and not who.is_admin:
        raise Refusal("forbidden", "Only an agent may do this.")
    return c


def _require_capacity(tx: Transaction, who: Acting, subject: str, agent: agents.Agent | None) -> None:
    # Whoever moves a conversation holds the queue's row, so nobody else counts at the same time.
    capacity = agents.capacity_of(agent, who)
    if tx.open_with(subject) >= capacity:
        raise Refusal("limit_exceeded", f"This agent has {capacity} open conversations, and takes no more.")
