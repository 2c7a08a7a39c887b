"""Reading conversations: one, a page of them, one as a whole. Holds `conversation.get`, `.list` and `.export`.

Notes are in none of them: they are the messages of their own room.
"""

from typing import Any, Final, Literal

from msgspec import Struct

from parley.domain import conversations
from parley.domain.conversations import About, Conversation, ConversationView, Status, Visitor
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import invalid_params
from parley.domain.ids import Id, Subject
from parley.domain.messages import Message, MessageView, Tombstone, message_view
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Transaction

#: Messages in one transcript: the newest of a conversation that has more.
MESSAGES_MAX: Final = 5000
_PAGE: Final = 500


class Get(About):
    pass


class List(Params):
    """`visitor` is their subject, or the one an issuer vouched for: a guest is a new subject each time."""

    status: Status | None = None
    department: Id | None = None
    assignee: Subject | None = None
    visitor: Subject | None = None
    after: str | None = None
    limit: Limit = 50


class Export(About):
    format: Literal["json", "text"]


class ListedConversation(ConversationView):
    """With the newest message, and how many of others the one who asks has not read."""

    last_message: MessageView | Tombstone | None = None
    unread: int = 0


class Transcript(Struct):
    """`complete` is false where older messages were left out."""

    conversation: ConversationView
    messages: list[MessageView | Tombstone]
    complete: bool


def get(tx: Transaction, p: Get, who: Acting) -> Decision:
    return conversations.answer(tx, conversations.readable_conversation(tx, p.conversation, who), who)


def list_conversations(tx: Transaction, p: List, who: Acting) -> Decision:
    """Newest first; with `status: queued` in the order of the queue."""
    rows = tx.conversations_page(
        status=p.status,
        department=p.department,
        assignee=p.assignee,
        visitor=p.visitor,
        after=_place(from_cursor(p.after)),
        limit=p.limit + 1,
    )
    shown, following = page(rows, p.limit, key=lambda row: f"{row.queued_at_ms} {row.id}")
    ids = [row.id for row in shown]
    tx.load(Visitor, ids)
    tx.load(Message, [row.last_message for row in shown if row.last_message is not None])
    positions = tx.queue_positions([row.id for row in shown if row.status == "queued"])
    unread = tx.unread(who.subject, ids)
    views = [_listed(tx, row, positions.get(row.id), unread.get(row.id, 0)) for row in shown]
    return Decision({"conversations": views, "next": following})


def export(tx: Transaction, p: Export, who: Acting) -> Decision:
    c = conversations.readable_conversation(tx, p.conversation, who)
    transcript = transcript_of(tx, c)
    return Decision({"transcript": transcript if p.format == "json" else as_text(transcript)})


def transcript_of(tx: Transaction, c: Conversation) -> Transcript:
    found: list[Message] = []
    before: int | None = None
    complete = False
    while not complete and len(found) < MESSAGES_MAX:
        older = tx.messages_page(c.id, before=before, after=None, limit=_PAGE)
        complete = len(older) < _PAGE
        found[:0] = older
        before = found[0].seq if found else None
    return Transcript(conversations.conversation_view(tx, c), [message_view(m) for m in found], complete)


def as_text(transcript: Transcript) -> str:
    """One line for each message, for people: `2026-11-22 09:30 UTC  Ada: hello`."""
    lines = [f"Conversation {transcript.conversation.id}, begun {_minute(transcript.conversation.created_at)}"]
    if not transcript.complete:
        lines.append("(Older messages were left out.)")
    for message in transcript.messages:
        text = "(deleted)" if isinstance(message, Tombstone) else message.text
        lines.append(f"{_minute(message.at)}  {message.sender.name}: {text}")
    return "\n".join(lines) + "\n"


def _minute(at: str) -> str:
    return f"{at[:10]} {at[11:16]} UTC"


def _listed(tx: Transaction, c: Conversation, position: int | None, unread: int) -> ListedConversation:
    view = conversations.conversation_view(tx, c)
    view.position = position
    last = None if c.last_message is None else tx.get(Message, c.last_message)
    members: dict[str, Any] = {name: getattr(view, name) for name in ConversationView.__struct_fields__}
    return ListedConversation(**members, last_message=None if last is None else message_view(last), unread=unread)


def _place(key: str | None) -> tuple[int, str] | None:
    if key is None:
        return None
    queued_at, _, conversation = key.partition(" ")
    if not queued_at.isascii() or not queued_at.isdigit() or len(queued_at) > 15:
        raise invalid_params("after", "This is no cursor of ours: pass the `next` of the page before.")
    return int(queued_at), conversation


class Positions(Params):
    """Not on the wire: the places of those of these conversations that wait."""

    conversations: list[str]


def positions(tx: Transaction, p: Positions, who: Acting) -> Decision:
    return Decision(tx.queue_positions(p.conversations))
