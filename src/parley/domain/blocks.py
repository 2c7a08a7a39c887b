"""Blocks: an agent ends a visitor's tokens, live. Holds `conversation.block` and `.unblock`.

How nodes follow a revocation is `service/watch.py`.
"""

from typing import Annotated

from msgspec import Meta

from parley.domain import agents, audit, conversations, revocation
from parley.domain.conversations import About, Conversation
from parley.domain.errors import invalid_params
from parley.domain.events import Change
from parley.domain.params import Reason
from parley.domain.ports import Acting, Decision, Transaction


class Block(About):
    """`reason` is what the visitor's connections are closed with."""

    reason: Annotated[str, Meta(min_length=1, max_length=120)] | None = None


class Unblock(About):
    reason: Reason | None = None


def block(tx: Transaction, p: Block, who: Acting) -> Decision:
    """End the visitor's tokens, new ones included. Their refresh session is kept, for when it is lifted."""
    c = conversations.readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    if p.reason is not None and len(p.reason.encode()) > revocation.REASON_BYTES_MAX:
        raise invalid_params("reason", f"A reason has at most {revocation.REASON_BYTES_MAX} bytes of UTF-8.")
    if c.blocked:
        return conversations.answer(tx, c, who)
    c.blocked = True
    tx.save(c)
    change = revocation.entry(tx, who, _revoked(c), p.reason or revocation.DEFAULT_REASON)
    audit.record(tx, who, "conversation.block", c.id, subject=c.visitor, reason=p.reason)
    return conversations.answer(tx, c, who, conversations.tell(tx, c, who, "conversation.updated"), changes=[change])


def unblock(tx: Transaction, p: Unblock, who: Acting) -> Decision:
    c = conversations.readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    revoked = tx.get(revocation.Revocation, _revoked(c))
    if not c.blocked and revoked is None:
        return conversations.answer(tx, c, who)
    c.blocked = False
    tx.save(c)
    if revoked is not None:
        tx.remove(revoked)
    audit.record(tx, who, "conversation.unblock", c.id, subject=c.visitor, reason=p.reason)
    lifted = Change("lift", _revoked(c), who.now_ms)
    return conversations.answer(tx, c, who, conversations.tell(tx, c, who, "conversation.updated"), changes=[lifted])


def _revoked(c: Conversation) -> str:
    return f"conversation:{c.id}"
