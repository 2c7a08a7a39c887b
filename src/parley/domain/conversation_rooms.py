"""The rooms of a helpdesk: who is who in a conversation, in its notes and in the queue, and who may speak there.

Nobody is a member by a row: visitors are by what they began, agents by their role. Moves nothing but by
`conversations.walk`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from parley.domain import agents, conversations
from parley.domain.conversations import Conversation, Visitor
from parley.domain.errors import Refusal
from parley.domain.events import Event
from parley.domain.ids import rfc3339
from parley.domain.ports import Acting, Transaction
from parley.domain.rooms import Access, Kept, MemberView, Room


def _access(tx: Transaction, room: Room, who: Acting) -> Access:
    """Its visitor and every agent count as members; an admin reads."""
    c = tx.get(Conversation, room.id)
    if c is not None and c.visitor == who.subject:
        return Access(room, None, "member", privy=who.is_agent)
    return _access_of_agents(tx, room, who)


def _access_of_agents(tx: Transaction, room: Room, who: Acting) -> Access:
    if who.is_agent:
        return Access(room, None, "member", privy=True)
    if who.is_admin:
        return Access(room, None)
    raise Refusal("not_found")


def _members(tx: Transaction, room: Room) -> list[MemberView]:
    """The visitor, and the agent who has it: every other agent counts as one too, and is not told of."""
    c = tx.get(Conversation, room.id)
    person = tx.get(Visitor, room.id)
    assert c is not None
    assert person is not None
    began = rfc3339(c.created_at_ms)
    found = [MemberView(room.id, c.visitor, person.name or c.visitor, "member", began)]
    if c.assignee is not None and c.assignee != c.visitor and c.assigned_at_ms is not None:
        since = rfc3339(c.assigned_at_ms)
        found.append(MemberView(room.id, c.assignee, c.assignee_name or c.assignee, "member", since))
    return found


def _all_agents(tx: Transaction, room: Room) -> list[MemberView]:
    return [MemberView(room.id, a.subject, a.name, "member", None) for a in agents.everybody(tx)]


def _speak(tx: Transaction, room: Room, who: Acting, message_id: str) -> Sequence[Event]:
    c = tx.get(Conversation, room.id)
    assert c is not None
    by_visitor = c.visitor == who.subject
    if by_visitor and c.blocked:
        raise Refusal("forbidden", "This conversation is blocked.")
    step = conversations.step_of(c, "visitor message" if by_visitor else "agent message")
    if not by_visitor:
        agents.touch(tx, who)
    c.last_message = message_id
    tx.save(c)
    return [] if step is None else conversations.walk(tx, c, who, step)


def _note(tx: Transaction, room: Room, who: Acting, message_id: str) -> Sequence[Event]:
    agents.touch(tx, who)
    return []


def _nobody_speaks(tx: Transaction, room: Room, who: Acting, message_id: str) -> Sequence[Event]:
    raise Refusal("forbidden", "The queue tells of conversations; nobody talks in it.")


#: How rooms of these kinds are kept (`rooms.KINDS`).
KEPT: Final[Mapping[str, Kept]] = {
    conversations.KIND: Kept(_access, _members, _speak),
    "notes": Kept(_access_of_agents, _all_agents, _note),
    conversations.QUEUE: Kept(_access_of_agents, _all_agents, _nobody_speaks),
}
