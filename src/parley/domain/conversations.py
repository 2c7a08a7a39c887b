"""Conversations: a visitor asks, an agent answers. What one is, its whole life as a table, and the walk through it.

A conversation begins in the queue, and waits there until an agent claims it or it is assigned to one. Of any number who
claim at once one wins. An agent has as many open ones as their capacity allows. A transfer gives it back to the queue,
under another department; so does an agent who is gone for too long; both keep its place from when it began to wait.
Whoever closes it ends nothing for good: the visitor's next message brings it back into the queue, as does an agent who
reopens it. Claiming what is closed, assigning, transferring and answering it are conflicts.

The table below is all of that. A conversation is a room of the same id, so its messages, receipts and events are those
of rooms; its notes are those of the room `<id>.notes`; what befalls any of them is told in the room `queue` too.

Holds no command. How one begins is `beginnings.py`; who has it, `claims.py`; how it ends, `closings.py`; what ends its
visitor, `blocks.py`; who may read and speak in its rooms, `conversation_rooms.py`; reading is `transcripts.py`; what is
known of the visitor, `visitors.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from parley.domain import agents, log, messages
from parley.domain.errors import Refusal
from parley.domain.events import Event
from parley.domain.ids import Id, rfc3339
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Row, Transaction
from parley.domain.rooms import Room, readable

Status = Literal["queued", "open", "closed"]
Act = Literal["claim", "assign", "transfer", "close", "reopen", "return", "visitor message", "agent message"]


class Step(Struct, frozen=True):
    """What an act comes to: the status it leads to and the event that tells of it, or the refusal's code.

    With neither, nothing changes: the act is answered as if it had, and nothing is told.
    """

    to: Status | None = None
    event: str | None = None
    refused: str | None = None


_STAYS: Final = Step()

LIFE: Final[Mapping[tuple[Status, Act], Step]] = {
    ("queued", "claim"): Step("open", "claimed"),
    ("queued", "assign"): Step("open", "assigned"),
    ("queued", "transfer"): Step("queued", "transferred"),
    ("queued", "close"): Step("closed", "closed"),
    ("queued", "reopen"): _STAYS,
    ("queued", "return"): _STAYS,
    ("queued", "visitor message"): _STAYS,
    ("queued", "agent message"): _STAYS,
    ("open", "claim"): Step(refused="already_claimed"),  # by somebody else; one's own stays one's own
    ("open", "assign"): Step("open", "assigned"),
    ("open", "transfer"): Step("queued", "transferred"),
    ("open", "close"): Step("closed", "closed"),
    ("open", "reopen"): _STAYS,
    ("open", "return"): Step("queued", "queued"),
    ("open", "visitor message"): _STAYS,
    ("open", "agent message"): _STAYS,
    ("closed", "claim"): Step(refused="conflict"),
    ("closed", "assign"): Step(refused="conflict"),
    ("closed", "transfer"): Step(refused="conflict"),
    ("closed", "close"): _STAYS,
    ("closed", "reopen"): Step("queued", "reopened"),
    ("closed", "return"): _STAYS,
    ("closed", "visitor message"): Step("queued", "reopened"),
    ("closed", "agent message"): Step(refused="conflict"),
}

KIND: Final = "conversation"
QUEUE: Final = agents.QUEUE
NOTES: Final = ".notes"


class Conversation(Row):
    """`id` is that of its room. Of a closed one `assignee` is who had it last.

    `queued_at_ms` is its place in the queue: since when its visitor waits, or has waited before somebody had it.
    `last_message` is the id of the newest message.
    """

    KEY: ClassVar = ("id",)
    id: str
    status: Status
    department: str | None
    visitor: str
    assignee: str | None
    assignee_name: str | None
    rating: int | None
    blocked: bool
    created_at_ms: int
    queued_at_ms: int
    assigned_at_ms: int | None
    closed_at_ms: int | None
    last_message: str | None


class Visitor(Row):
    """All that is known of the person behind a conversation, in this one row: events and answers refer to it.

    `identity` is whom an external issuer vouched for. `comment` is what they said with their rating.
    """

    KEY: ClassVar = ("conversation",)
    conversation: str
    subject: str
    name: str | None
    email: str | None
    page: str | None
    verified: bool
    identity: str | None
    comment: str | None


class VisitorView(Struct):
    """`identity` is whom an issuer vouched for, None where nobody did."""

    subject: str
    name: str | None
    email: str | None
    page: str | None
    verified: bool
    identity: str | None = None


class ConversationView(Struct):
    """`position` is its place among those of its department that wait, from 1; None in events, and where none waits.

    Told to whoever asks for one conversation: `preview`, whether agents see what the visitor types; `attended`, while
    it waits, whether an agent is here at all.
    """

    id: str
    status: Status
    department: str | None
    assignee: str | None
    assignee_name: str | None
    visitor: VisitorView
    position: int | None
    rating: int | None
    comment: str | None
    blocked: bool
    created_at: str
    queued_at: str
    closed_at: str | None
    preview: bool | UnsetType = UNSET
    attended: bool | UnsetType = UNSET


def conversation_view(tx: Transaction, c: Conversation) -> ConversationView:
    person = tx.get(Visitor, c.id)
    assert person is not None
    return ConversationView(
        id=c.id,
        status=c.status,
        department=c.department,
        assignee=c.assignee,
        assignee_name=c.assignee_name,
        visitor=_described(person),
        position=None,
        rating=c.rating,
        comment=person.comment,
        blocked=c.blocked,
        created_at=rfc3339(c.created_at_ms),
        queued_at=rfc3339(c.queued_at_ms),
        closed_at=None if c.closed_at_ms is None else rfc3339(c.closed_at_ms),
    )


def answer(tx: Transaction, c: Conversation, who: Acting, events: Sequence[Event] = (), **more: Any) -> Decision:
    """The conversation as it is now, with its place in the queue."""
    view = conversation_view(tx, c)
    if c.status == "queued":
        view.position = tx.queue_positions([c.id]).get(c.id)
        view.attended = tx.is_attended(agents.seen_since_ms(who))
    view.preview = who.rules.preview
    return Decision({"conversation": view}, events, **more)


# --- The walk ---------------------------------------------------------------------------------------------------------


def step_of(c: Conversation, act: Act) -> Step | None:
    """What this act comes to now, None where it changes nothing. Raises: Refusal."""
    step = LIFE[c.status, act]
    if step.refused is not None:
        raise Refusal(step.refused, _WHY[step.refused])
    return None if step.to is None else step


def walk(
    tx: Transaction,
    c: Conversation,
    who: Acting,
    step: Step,
    *,
    to_agent: agents.Agent | None = None,
    department: str | None = None,
    reason: str | None = None,
) -> list[Event]:
    """Take the step, and tell of it. `to_agent` has it from now on, `department` is where it goes."""
    assert step.to is not None
    assert step.event is not None
    if step.to == "queued":
        if c.status == "closed":
            c.queued_at_ms = who.now_ms
        c.assignee = c.assignee_name = c.assigned_at_ms = c.closed_at_ms = None
    elif step.to == "open":
        assert to_agent is not None
        c.assignee, c.assignee_name, c.assigned_at_ms = to_agent.subject, to_agent.name, who.now_ms
    else:
        c.closed_at_ms = who.now_ms
    if department is not None:
        c.department = department
    c.status = step.to
    tx.save(c)
    return tell(tx, c, who, f"conversation.{step.event}", reason=reason)


def tell(tx: Transaction, c: Conversation, who: Acting, kind: str, *, reason: str | None = None) -> list[Event]:
    """Write an event of the conversation into its own log, and into the queue's.

    A reason is for agents: it goes to the queue, and becomes a note. The visitor's details are in no log: a replay
    reads them from their row (`shown`).
    """
    view = conversation_view(tx, c)
    kept = conversation_view(tx, c)
    kept.visitor, kept.comment = VisitorView(c.visitor, None, None, None, False), None
    events = [log.append(tx, _room(tx, c.id), who, kind, {"conversation": view}, stored={"conversation": kept})]
    if reason:
        notes, data = _room(tx, c.id + NOTES), messages.checked_data({"event": kind})
        events.append(messages.append(tx, notes, who, reason, message_id=who.new_id(), data=data))
    more = {"reason": reason} if reason else {}
    told, stored = {"conversation": view, **more}, {"conversation": kept, **more}
    events.append(log.append(tx, _room(tx, QUEUE), who, kind, told, stored=stored))
    return events


def shown(tx: Transaction, data: dict[str, Any]) -> dict[str, Any]:
    """The data of a stored event `conversation.*`, with what is known of the visitor today."""
    view = data["conversation"]
    person = tx.get(Visitor, view["id"])
    if person is not None:
        view["comment"] = person.comment
        view["visitor"] = _described(person)
    return data


def _described(person: Visitor) -> VisitorView:
    return VisitorView(person.subject, person.name, person.email, person.page, person.verified, person.identity)


def _room(tx: Transaction, room_id: str) -> Room:
    room = tx.get(Room, room_id)
    assert room is not None, f"the room {room_id} is made with the first conversation at the latest"
    return room


_WHY: Final = {
    "already_claimed": "Another agent has this conversation.",
    "conflict": "The conversation is closed; reopen it first.",
}


# --- Who may ----------------------------------------------------------------------------------------------------------


def readable_conversation(tx: Transaction, conversation_id: str, who: Acting) -> Conversation:
    """Raises: Refusal (`not_found`), also for what is a room of another kind."""
    readable(tx, conversation_id, who)
    c = tx.get(Conversation, conversation_id)
    if c is None:
        raise Refusal("not_found")
    return c


def visitors_own(tx: Transaction, conversation_id: str, who: Acting) -> Conversation:
    """As `readable_conversation`, for what its visitor alone may do. Raises: also `forbidden`."""
    c = readable_conversation(tx, conversation_id, who)
    if c.visitor != who.subject:
        raise Refusal("forbidden", "Only the visitor may do this.")
    if c.blocked:
        raise Refusal("forbidden", "This conversation is blocked.")
    return c


class About(Params):
    """A command about one conversation. The store locks its rooms, and the queue, before it is decided."""

    conversation: Id
