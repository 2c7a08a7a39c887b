"""Conversations: a visitor asks, an agent answers, and who has whom. Holds the commands that move one through its life.

A conversation begins in the queue, and waits there until an agent claims it or it is assigned to one. Of any number who
claim at once one wins. An agent has as many open ones as their capacity allows. A transfer gives it back to the queue,
under another department; so does an agent who is gone for too long; both keep its place from when it began to wait.
Whoever closes it ends nothing for good: the visitor's next message brings it back into the queue, as does an agent who
reopens it. Claiming what is closed, assigning, transferring and answering it are conflicts.

The table below is all of that. A conversation is a room of the same id, so its messages, receipts and events are those
of rooms; its notes are those of the room `<id>.notes`; what befalls any of them is told in the room `queue` too.

How one begins is `beginnings.py`; who may read and speak in its rooms, `conversation_rooms.py`; reading is
`transcripts.py`; what is known of the visitor, `visitors.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from parley.domain import agents, audit, departments, log, messages, revocation
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Change, Event
from parley.domain.ids import Id, Subject, rfc3339
from parley.domain.params import Params, Reason
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
QUEUE: Final = "queue"
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
    subject: str
    name: str | None
    email: str | None
    page: str | None
    verified: bool


class ConversationView(Struct):
    """`position` is its place among those of its department that wait, from 1; None in events, and where none waits.

    `preview`, told to whoever asks for one conversation: whether agents see what the visitor types.
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


def conversation_view(tx: Transaction, c: Conversation) -> ConversationView:
    person = tx.get(Visitor, c.id)
    assert person is not None
    return ConversationView(
        id=c.id,
        status=c.status,
        department=c.department,
        assignee=c.assignee,
        assignee_name=c.assignee_name,
        visitor=VisitorView(c.visitor, person.name, person.email, person.page, person.verified),
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
        view["visitor"] = VisitorView(person.subject, person.name, person.email, person.page, person.verified)
    return data


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


# --- Commands ---------------------------------------------------------------------------------------------------------


class About(Params):
    """A command about one conversation. The store locks its rooms, and the queue, before it is decided."""

    conversation: Id


class Claim(About):
    pass


class Assign(About):
    agent: Subject
    reason: Reason | None = None


class Transfer(About):
    department: Annotated[str, Meta(min_length=1, max_length=100)]
    reason: Reason | None = None


class Close(About):
    pass


class Reopen(About):
    pass


class Rate(About):
    score: Annotated[int, Meta(ge=1, le=5)]
    comment: Annotated[str, Meta(max_length=2000)] | None = None


class Block(About):
    """`reason` is what the visitor's connections are closed with."""

    reason: Annotated[str, Meta(min_length=1, max_length=120)] | None = None


class Unblock(About):
    reason: Reason | None = None


class Abandoned(Params):
    """Not on the wire: the open conversations whose agent is gone for too long; their ids."""


class Return(About):
    """Not on the wire: give a conversation back to the queue, if its agent is still gone."""


def claim(tx: Transaction, p: Claim, who: Acting) -> Decision:
    c = readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    if c.status == "open" and c.assignee == who.subject:
        return answer(tx, c, who)
    step = step_of(c, "claim")
    assert step is not None
    agent = tx.get(agents.Agent, who.subject)
    _require_capacity(tx, who, who.subject, agent)
    agents.touch(tx, who)
    agent = tx.get(agents.Agent, who.subject)
    return answer(tx, c, who, walk(tx, c, who, step, to_agent=agent))


def assign(tx: Transaction, p: Assign, who: Acting) -> Decision:
    c = _as_staff(tx, p.conversation, who)
    agent = agents.existing(tx, p.agent)
    if agent is None:
        raise invalid_params("agent", "There is no agent of this name.")
    step = step_of(c, "assign")
    if step is None or (c.status == "open" and c.assignee == agent.subject):
        return answer(tx, c, who)
    _require_capacity(tx, who, agent.subject, agent)
    return answer(tx, c, who, walk(tx, c, who, step, to_agent=agent, reason=p.reason))


def transfer(tx: Transaction, p: Transfer, who: Acting) -> Decision:
    c = _as_staff(tx, p.conversation, who)
    department = departments.find(tx, p.department).id
    step = step_of(c, "transfer")
    if step is None or (c.status == "queued" and c.department == department):
        return answer(tx, c, who)
    return answer(tx, c, who, walk(tx, c, who, step, department=department, reason=p.reason))


def close(tx: Transaction, p: Close, who: Acting) -> Decision:
    c = readable_conversation(tx, p.conversation, who)
    return _take(tx, c, who, "close")


def reopen(tx: Transaction, p: Reopen, who: Acting) -> Decision:
    c = readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    return _take(tx, c, who, "reopen")


def rate(tx: Transaction, p: Rate, who: Acting) -> Decision:
    c = visitors_own(tx, p.conversation, who)
    person = tx.get(Visitor, c.id)
    assert person is not None
    if (c.rating, person.comment) == (p.score, p.comment):
        return answer(tx, c, who)
    c.rating, person.comment = p.score, p.comment
    tx.save(c)
    tx.save(person)
    return answer(tx, c, who, tell(tx, c, who, "conversation.rated"))


def block(tx: Transaction, p: Block, who: Acting) -> Decision:
    """End the visitor's tokens, new ones included. Their refresh session is kept, for when it is lifted."""
    c = readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    if p.reason is not None and len(p.reason.encode()) > revocation.REASON_BYTES_MAX:
        raise invalid_params("reason", f"A reason has at most {revocation.REASON_BYTES_MAX} bytes of UTF-8.")
    if c.blocked:
        return answer(tx, c, who)
    c.blocked = True
    tx.save(c)
    change = revocation.entry(tx, who, _revoked(c), p.reason or revocation.DEFAULT_REASON)
    audit.record(tx, who, "conversation.block", c.id, subject=c.visitor, reason=p.reason)
    return answer(tx, c, who, tell(tx, c, who, "conversation.updated"), changes=[change])


def unblock(tx: Transaction, p: Unblock, who: Acting) -> Decision:
    c = readable_conversation(tx, p.conversation, who)
    agents.require_agent(who)
    revoked = tx.get(revocation.Revocation, _revoked(c))
    if not c.blocked and revoked is None:
        return answer(tx, c, who)
    c.blocked = False
    tx.save(c)
    if revoked is not None:
        tx.remove(revoked)
    audit.record(tx, who, "conversation.unblock", c.id, subject=c.visitor, reason=p.reason)
    lifted = Change("lift", _revoked(c), who.now_ms)
    return answer(tx, c, who, tell(tx, c, who, "conversation.updated"), changes=[lifted])


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
    step = step_of(c, "return")
    return Decision(step is not None, [] if step is None else walk(tx, c, who, step))


def _take(tx: Transaction, c: Conversation, who: Acting, act: Act) -> Decision:
    if c.visitor == who.subject and c.blocked:
        raise Refusal("forbidden", "This conversation is blocked.")
    step = step_of(c, act)
    return answer(tx, c, who) if step is None else answer(tx, c, who, walk(tx, c, who, step))


def _as_staff(tx: Transaction, conversation_id: str, who: Acting) -> Conversation:
    c = readable_conversation(tx, conversation_id, who)
    if not who.is_agent and not who.is_admin:
        raise Refusal("forbidden", "Only an agent may do this.")
    return c


def _require_capacity(tx: Transaction, who: Acting, subject: str, agent: agents.Agent | None) -> None:
    # Whoever moves a conversation holds the queue's row, so nobody else counts at the same time.
    capacity = agents.capacity_of(agent, who)
    if tx.open_with(subject) >= capacity:
        raise Refusal("limit_exceeded", f"This agent has {capacity} open conversations, and takes no more.")


def _revoked(c: Conversation) -> str:
    return f"conversation:{c.id}"
