"""How a conversation begins: `conversation.start` of an account, and the guest's, with a sign-in of its own.

A guest is made here and is nobody before: its subject, its session and its conversation are one for one. What an issuer
vouches for was verified by `service/helpdesk.py`; the tokens are made there too.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct, structs

from parley.domain import conversations, departments, messages
from parley.domain.conversations import KIND, NOTES, Conversation, Visitor
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Transaction
from parley.domain.principal import Principal
from parley.domain.rooms import Room
from parley.domain.sessions import Session

#: On one line: they are shown beside what people say.
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}\Z")]
Email = Annotated[str, Meta(pattern=r"^[^\s@]+@[^\s@]+\Z", max_length=254)]
Page = Annotated[str, Meta(pattern=r"^[^\x00-\x20\x7f-\x9f]{1,2048}\Z")]
Token = Annotated[str, Meta(min_length=1, max_length=8192)]

GUEST: Final = "guest:"


class Vouched(Struct, frozen=True):
    """What an external issuer says of a person; `subject` is `<issuer's name>:<its sub>`."""

    subject: str
    name: str
    email: str | None


class Start(Params):
    """As the body of `POST /conversations`. `department` is an id or a name."""

    name: Name | None = None
    email: Email | None = None
    department: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    page: Page | None = None
    message: str | None = None
    identity: Token | None = None


class VerifiedStart(Start):
    """A `Start` whose `identity`, if it has one, was verified: this, and nothing from the wire, is decided."""

    vouched: Vouched | None = None


class Begin(Params):
    """Not on the wire: what a visitor without an account starts, and the session that comes with it."""

    start: VerifiedStart
    expires_at_ms: int
    user_agent: str | None
    address: str | None


class Begun(Struct):
    """The guest's session, and the conversation as the wire has it."""

    session: Session
    conversation: conversations.ConversationView


def start(tx: Transaction, p: Start, who: Acting) -> Decision:
    if who.principal.is_guest:
        raise Refusal("forbidden", "A guest has its conversation already.")
    return _begin(tx, p, who)


def begin(tx: Transaction, p: Begin, who: Acting) -> Decision:
    """A `Begun`, in the guest's own name: it is the one who acts in the log."""
    subject = GUEST + who.new_id()
    vouched = p.start.vouched
    name = (vouched.name if vouched is not None else p.start.name) or subject
    guest = Principal(
        subject=subject,
        type="guest",
        name=name,
        roles=frozenset({"guest"}),
        session=who.new_id(),
        token_id="",
        issuer="",
        expires_at_s=float("inf"),
    )
    decision = _begin(tx, p.start, structs.replace(who, principal=guest, roles=guest.roles))
    view = decision.reply["conversation"]
    session = Session(
        id=guest.session,
        subject=subject,
        type="guest",
        generation=0,
        created_at_ms=who.now_ms,
        last_used_at_ms=who.now_ms,
        expires_at_ms=p.expires_at_ms,
        user_agent=p.user_agent,
        address=p.address,
        conversation=view.id,
    )
    tx.add(session)
    return Decision(Begun(session, view), decision.events)


def _begin(tx: Transaction, p: Start, who: Acting) -> Decision:
    assert isinstance(p, VerifiedStart) or p.identity is None, "an identity is verified before this"
    vouched = p.vouched if isinstance(p, VerifiedStart) else None
    text = None if p.message is None else messages.checked_text(p.message, who, field="message")
    department = None if p.department is None else departments.find(tx, p.department).id
    is_guest = who.principal.is_guest
    c = Conversation(
        id=f"c-{who.new_id()}",
        status="queued",
        department=department,
        visitor=who.subject,
        assignee=None,
        assignee_name=None,
        rating=None,
        blocked=False,
        created_at_ms=who.now_ms,
        queued_at_ms=who.now_ms,
        assigned_at_ms=None,
        closed_at_ms=None,
        last_message=None,
    )
    person = Visitor(
        conversation=c.id,
        subject=who.subject,
        name=p.name or (None if is_guest else who.principal.name),
        email=p.email,
        page=p.page,
        verified=vouched is not None,
        identity=None,
        comment=None,
    )
    if vouched is not None:
        person.name, person.email, person.identity = vouched.name, vouched.email, vouched.subject
    room = _room(c.id, KIND, who)
    for row in (room, _room(c.id + NOTES, "notes", who), c, person):
        tx.add(row)
    events = conversations.tell(tx, c, who, "conversation.queued")
    if text is not None:
        c.last_message = who.new_id()
        events.append(messages.append(tx, room, who, text, message_id=c.last_message))
    return conversations.answer(tx, c, who, events)


def _room(room_id: str, kind: str, who: Acting) -> Room:
    return Room(
        id=room_id, kind=kind, title=None, visibility="private", archived=False, seq=0, created_at_ms=who.now_ms
    )
