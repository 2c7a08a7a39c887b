"""Messages: sent once, edited for a while, deleted into a tombstone.

Holds every `message.*` command. Reading a room's log is `replay.py`.
"""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from parley.domain import audit, log
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Event
from parley.domain.ids import Id, rfc3339
from parley.domain.normal_form import MARKS_MAX, SHRINKS_BY, normal_form
from parley.domain.params import Limit, Params, Reason, Seq
from parley.domain.ports import Acting, Decision, Row, Transaction
from parley.domain.principal import Person
from parley.domain.rooms import KINDS, Room, joined, moderated, readable, writable

DATA_BYTES_MAX = 8192
#: Beyond it a double, and with it most clients' JSON, no longer tells one integer from the next.
NUMBER_MAX = 2**53


class Message(Row):
    """`seq` is that of its `message.created`. `data` is JSON text. A deleted one keeps no text."""

    KEY: ClassVar = ("id",)
    id: str
    room: str
    seq: int
    text: str | None
    sender: str
    sender_name: str
    sender_type: str
    at_ms: int
    client_id: str | None = None
    reply_to: str | None = None
    data: str | None = None
    edited_at_ms: int | None = None
    deleted_at_ms: int | None = None
    deleted_by: str | None = None
    deleted_by_name: str | None = None
    deleted_by_type: str | None = None
    deleted_reason: str | None = None


class MessageView(Struct, gc=False):
    id: str
    room: str
    seq: int
    text: str
    sender: Person
    at: str
    client_id: str | UnsetType = UNSET
    reply_to: str | UnsetType = UNSET
    data: msgspec.Raw | UnsetType = UNSET
    edited_at: str | UnsetType = UNSET


class Tombstone(Struct):
    id: str
    room: str
    seq: int
    sender: Person
    at: str
    deleted: bool
    deleted_at: str
    deleted_by: Person
    reason: str | UnsetType = UNSET


def message_view(m: Message) -> MessageView | Tombstone:
    sender = Person(m.sender, m.sender_name, m.sender_type)
    if m.deleted_at_ms is not None:
        by = Person(m.deleted_by or "", m.deleted_by_name or "", m.deleted_by_type or "")
        reason = UNSET if m.deleted_reason is None else m.deleted_reason
        return Tombstone(m.id, m.room, m.seq, sender, rfc3339(m.at_ms), True, rfc3339(m.deleted_at_ms), by, reason)
    return MessageView(
        m.id,
        m.room,
        m.seq,
        m.text or "",
        sender,
        rfc3339(m.at_ms),
        UNSET if m.client_id is None else m.client_id,
        UNSET if m.reply_to is None else m.reply_to,
        UNSET if m.data is None else msgspec.Raw(m.data.encode()),
        UNSET if m.edited_at_ms is None else rfc3339(m.edited_at_ms),
    )


class Send(Params):
    room: Id
    text: str
    client_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    reply_to: Id | None = None
    data: dict[str, Any] | None = None


class Edit(Params):
    message: Id
    text: str


class Delete(Params):
    message: Id
    reason: Reason | None = None


class Get(Params):
    message: Id


class List(Params):
    room: Id
    before: Seq | None = None
    after: Seq | None = None
    limit: Limit = 50


def send(tx: Transaction, p: Send, who: Acting) -> Decision:
    access = joined(tx, p.room, who)
    # A repetition is answered with the first, whatever else is wrong with it: its sender never got our answer.
    if p.client_id is not None and (first := tx.sent_before(p.room, who.subject, p.client_id)) is not None:
        return Decision({"message": message_view(first), "duplicate": True})
    text = checked_text(p.text, who)
    data = checked_data(p.data)
    writable(access.room)
    if p.reply_to is not None:
        answered = tx.get(Message, p.reply_to)
        if answered is None or answered.room != p.room:
            raise invalid_params("reply_to", "There is no such message in this room.")
    message_id = who.new_id()
    kept = KINDS.get(access.room.kind)
    before = [] if kept is None else kept.speak(tx, access.room, who, message_id)
    event = append(
        tx, access.room, who, text, message_id=message_id, client_id=p.client_id, reply_to=p.reply_to, data=data
    )
    return Decision({"message": event.data["message"], "duplicate": False}, [*before, event])


def append(
    tx: Transaction,
    room: Room,
    who: Acting,
    text: str,
    *,
    message_id: str,
    client_id: str | None = None,
    reply_to: str | None = None,
    data: str | None = None,
) -> Event:
    """Write a message whose text has been checked; `data` is JSON text."""
    person = who.person
    message = Message(
        id=message_id,
        room=room.id,
        seq=room.seq + 1,
        text=text,
        sender=person.subject,
        sender_name=person.name,
        sender_type=person.type,
        at_ms=who.now_ms,
        client_id=client_id,
        reply_to=reply_to,
        data=data,
    )
    event = log.append(tx, room, who, "message.created", {"message": message_view(message)}, message.id)
    tx.add(message)
    return event


def edit(tx: Transaction, p: Edit, who: Acting) -> Decision:
    message = _readable_message(tx, p.message, who, "send")
    room = readable(tx, message.room, who).room
    if message.sender != who.subject:
        raise Refusal("forbidden", "Only its sender may edit a message.")
    if message.deleted_at_ms is not None:
        raise Refusal("conflict", "The message was deleted.")
    if who.now_ms - message.at_ms > who.rules.edit_window_s * 1000:
        raise Refusal("forbidden", f"A message can be edited for {who.rules.edit_window_s // 60} minutes.")
    text = checked_text(p.text, who)
    if text == message.text:
        return Decision({"message": message_view(message)})
    writable(room)
    audit.record(tx, who, "message.edit", message.id, room=room.id)
    message.text = text
    message.edited_at_ms = who.now_ms
    tx.save(message)
    event = log.append(tx, room, who, "message.edited", {"message": message_view(message)}, message.id)
    return Decision({"message": event.data["message"]}, [event])


def delete(tx: Transaction, p: Delete, who: Acting) -> Decision:
    message = _readable_message(tx, p.message, who, "manage")
    access = readable(tx, message.room, who)
    if who.principal.is_guest:
        raise Refusal("forbidden", "A guest deletes nothing.")
    own = who.rules.delete_own and message.sender == who.subject
    if not own:
        access = moderated(tx, message.room, who)
    if message.deleted_at_ms is not None:
        return Decision({"message": message_view(message)})
    audit.record(tx, who, "message.delete", message.id, room=message.room, text=message.text, reason=p.reason)
    person = who.person
    message.text = message.data = message.edited_at_ms = None
    message.deleted_at_ms = who.now_ms
    message.deleted_by, message.deleted_by_name, message.deleted_by_type = person.subject, person.name, person.type
    message.deleted_reason = p.reason
    tx.save(message)
    event = log.append(tx, access.room, who, "message.deleted", {"message": message_view(message)}, message.id)
    return Decision({"message": event.data["message"]}, [event])


def get(tx: Transaction, p: Get, who: Acting) -> Decision:
    return Decision({"message": message_view(_readable_message(tx, p.message, who, "read"))})


def list_messages(tx: Transaction, p: List, who: Acting) -> Decision:
    readable(tx, p.room, who)
    rows = tx.messages_page(p.room, before=p.before, after=p.after, limit=p.limit + 1)
    complete = len(rows) <= p.limit
    if not complete:
        # The row over the limit is the farthest from where the page begins.
        forward = p.after is not None and p.before is None
        rows = rows[: p.limit] if forward else rows[1:]
    return Decision({"messages": [message_view(row) for row in rows], "complete": complete})


def checked_text(text: str, who: Acting, *, field: str = "text") -> str:
    """The text in NFC. Raises: Refusal (`invalid_params` on `field`) where it is empty, too long or a heap of marks."""
    longest = who.rules.message_chars
    normal = normal_form(text) if len(text) <= longest * SHRINKS_BY else text
    if normal is None:
        raise invalid_params(field, f"One character has at most {MARKS_MAX} marks.")
    if not normal:
        raise invalid_params(field, "A message has a text.")
    if len(normal) > longest:
        raise invalid_params(field, f"A message has at most {longest} characters.")
    return normal


def checked_data(data: dict[str, Any] | None) -> str | None:
    """As JSON text. Raises: Refusal (`invalid_params` on `data`)."""
    if data is None:
        return None
    encoded = msgspec.json.encode(data)
    if len(encoded) > DATA_BYTES_MAX:
        raise invalid_params("data", f"`data` has at most {DATA_BYTES_MAX} bytes of JSON.")
    _check_values(data)
    return encoded.decode()


def _check_values(value: Any) -> None:
    """Raise `invalid_params` for what not every client could read back: a number beyond ±2^53, a NUL in a string."""
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid_params("data", "A string has no NUL.")
    elif isinstance(value, dict):
        for name, inside in value.items():
            _check_values(name)
            _check_values(inside)
    elif isinstance(value, list):
        for inside in value:
            _check_values(inside)
    elif isinstance(value, int | float) and not -NUMBER_MAX <= value <= NUMBER_MAX:
        raise invalid_params("data", "Numbers go from -2^53 to 2^53.")


def _readable_message(tx: Transaction, message_id: str, who: Acting, action: str) -> Message:
    message = tx.get(Message, message_id)
    if message is None:
        raise Refusal("not_found")
    readable(tx, message.room, who)
    grants = who.principal.grants
    if grants is not None and not grants.allows(action, "room:" + message.room):
        raise Refusal("forbidden", "This token does not grant that.")
    return message
