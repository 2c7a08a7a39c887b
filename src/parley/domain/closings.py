"""How a conversation ends, comes back and is judged: `conversation.close`, `.reopen` and `.rate`.

What a message does to one that is closed is `conversation_rooms.py`.
"""

from typing import Annotated

from msgspec import Meta

from parley.domain import agents, conversations
from parley.domain.conversations import About, Act, Conversation, Visitor
from parley.domain.errors import Refusal
from parley.domain.ports import Acting, Decision, Transaction


class Close(About):
    pass


class Reopen(About):
    pass


class Rate(About):
    score: Annotated[int, Meta(ge=1, le=5)]
    comment: Annotated[str, Meta(max_length=2000)] | None = None


def close(tx: Transaction, p: Close, who: Acting) -> Decision:
    c = conversations.readable_conversation(tx, p.conversation, who)
    return _take(tx, c, who, "close")


def reopen(tx: Transaction, p: Reopen, who: Acting) -> Decision:
    c = conversations.readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    return _take(tx, c, who, "reopen")


def rate(tx: Transaction, p: Rate, who: Acting) -> Decision:
    c = conversations.visitors_own(tx, p.conversation, who)
    person = tx.get(Visitor, c.id)
    assert person is not None
    if (c.rating, person.comment) == (p.score, p.comment):
        return conversations.answer(tx, c, who)
    c.rating, person.comment = p.score, p.comment
    tx.save(c)
    tx.save(person)
    return conversations.answer(tx, c, who, conversations.tell(tx, c, who, "conversation.rated"))


def _take(tx: Transaction, c: Conversation, who: Acting, act: Act) -> Decision:
    if c.visitor == who.subject and c.blocked:
        raise Refusal("forbidden", "This conversation is blocked.")
    step = conversations.step_of(c, act)
    return (
        conversations.answer(tx, c, who)
        if step is None
        else conversations.answer(tx, c, who, conversations.walk(tx, c, who, step))
    )
