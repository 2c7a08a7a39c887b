"""Visitors: what is known of the person behind a conversation, changed, exported, erased. Holds `visitor.*`,
`conversation.update` and `conversation.identify`.

Erasing takes away the person and leaves the conversation: in every conversation of the subject the name, email, page
and comment go from their one row, the texts of the person's messages become tombstones, their name goes from whatever
they wrote or did there, their deleted texts from the audit log, their address and browser from their sessions, and a
guest's tokens end. Every `seq` stays, and so do the answers of agents, who may have quoted them.
"""

from typing import Final

from msgspec import Struct

from parley.domain import audit, conversations, log, revocation
from parley.domain.beginnings import Email, Name, Page, Token, Vouched
from parley.domain.conversations import About, Conversation, Visitor, visitors_own
from parley.domain.errors import Refusal
from parley.domain.events import Change, Event
from parley.domain.ids import Subject, rfc3339
from parley.domain.messages import Message, message_view
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Transaction
from parley.domain.rooms import Room
from parley.domain.transcripts import Transcript, transcript_of

_PAGE: Final = 500
ERASED: Final = "erased"


class Update(About):
    name: Name | None = None
    email: Email | None = None
    page: Page | None = None


class Identify(About):
    identity: Token


class VerifiedIdentify(Identify):
    """An `Identify` whose token was verified: this, and nothing from the wire, is decided."""

    vouched: Vouched | None = None


class Export(Params):
    subject: Subject


class Erase(Params):
    subject: Subject


class SessionData(Struct):
    id: str
    created_at: str
    last_used_at: str
    user_agent: str | None
    address: str | None


class VisitorData(Struct):
    """Everything that is kept of a visitor."""

    subject: str
    identities: list[str]
    conversations: list[Transcript]
    sessions: list[SessionData]


def update(tx: Transaction, p: Update, who: Acting) -> Decision:
    c = visitors_own(tx, p.conversation, who)
    person = _person(tx, c)
    if person.verified and (p.name, p.email) != (None, None):
        raise Refusal("forbidden", "An issuer vouches for this name and email.")
    name, email, page = p.name or person.name, p.email or person.email, p.page or person.page
    if (name, email, page) == (person.name, person.email, person.page):
        return conversations.answer(tx, c, who)
    person.name, person.email, person.page = name, email, page
    tx.save(person)
    return conversations.answer(tx, c, who, conversations.tell(tx, c, who, "conversation.updated"))


def identify(tx: Transaction, p: Identify, who: Acting) -> Decision:
    c = visitors_own(tx, p.conversation, who)
    if not isinstance(p, VerifiedIdentify):  # asked before the identity is verified: they may
        return Decision(None)
    assert p.vouched is not None
    vouched = p.vouched
    person = _person(tx, c)
    if person.verified and person.identity not in (None, vouched.subject):
        raise Refusal("conflict", "This conversation is somebody else's already.")
    if (person.verified, person.identity, person.name, person.email) == (
        True,
        vouched.subject,
        vouched.name,
        vouched.email,
    ):
        return conversations.answer(tx, c, who)
    person.verified, person.identity = True, vouched.subject
    person.name, person.email = vouched.name, vouched.email
    tx.save(person)
    return conversations.answer(tx, c, who, conversations.tell(tx, c, who, "conversation.updated"))


def export(tx: Transaction, p: Export, who: Acting) -> Decision:
    found = _of(tx, p.subject)
    people = [_person(tx, c) for c in found]
    sessions = [
        SessionData(s.id, rfc3339(s.created_at_ms), rfc3339(s.last_used_at_ms), s.user_agent, s.address)
        for s in tx.sessions_of(p.subject)
    ]
    identities = sorted({person.identity for person in people if person.identity is not None})
    return Decision({"data": VisitorData(p.subject, identities, [transcript_of(tx, c) for c in found], sessions)})


def erase(tx: Transaction, p: Erase, who: Acting) -> Decision:
    found = _of(tx, p.subject)
    # Everybody locks rooms in the order of their ids, and the queue last: here too, before anything is written.
    rooms = {c.id: tx.get(Room, c.id) for c in found}
    tx.get(Room, conversations.QUEUE)
    tx.load(Conversation, list(rooms), again=True)
    events: list[Event] = []
    for conversation, room in rooms.items():
        c = tx.get(Conversation, conversation)
        assert c is not None
        assert room is not None
        person = _person(tx, c)
        person.name = person.email = person.page = person.identity = person.comment = None
        person.verified = False
        tx.save(person)
        events += [_erase_message(tx, room, message, who) for message in _written_by(tx, c.id, p.subject)]
        events += conversations.tell(tx, c, who, "conversation.updated")
    changes: list[Change] = []
    if all(_is_guest(c) for c in found):
        _, changes = revocation.end_subject(tx, who, p.subject, ERASED)
    audit.record(tx, who, "visitor.erase", p.subject, conversations=[c.id for c in found])
    tx.forget_person(p.subject, [c.id for c in found])
    return Decision({}, events, changes=changes)


def _of(tx: Transaction, subject: str) -> list[Conversation]:
    found = sorted(tx.conversations_of(subject), key=lambda c: c.id)
    if not found:
        raise Refusal("not_found", "There is no visitor of this subject.")
    return found


def _is_guest(c: Conversation) -> bool:
    return c.visitor.startswith("guest:")


def _person(tx: Transaction, c: Conversation) -> Visitor:
    person = tx.get(Visitor, c.id)
    assert person is not None
    return person


def _written_by(tx: Transaction, room: str, subject: str) -> list[Message]:
    found: list[Message] = []
    before: int | None = None
    while page := tx.messages_page(room, before=before, after=None, limit=_PAGE):
        found += [m for m in page if m.sender == subject and m.deleted_at_ms is None]
        before = page[0].seq
    return sorted(found, key=lambda m: m.seq)


def _erase_message(tx: Transaction, room: Room, message: Message, who: Acting) -> Event:
    by = who.person
    message.text = message.data = message.edited_at_ms = None
    message.sender_name = message.sender
    message.deleted_at_ms, message.deleted_reason = who.now_ms, ERASED
    message.deleted_by, message.deleted_by_name, message.deleted_by_type = by.subject, by.name, by.type
    tx.save(message)
    return log.append(tx, room, who, "message.deleted", {"message": message_view(message)}, message.id)
