"""The transaction as the domain sees it: the rows, with every noun's queries, and what a batch of commands will need.

When it begins and commits is the business of `batch.py` and `reader.py`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import fields

from parley.domain.accounts import Account
from parley.domain.beginnings import Begin, Start
from parley.domain.conversations import NOTES, QUEUE, About, Conversation, Visitor
from parley.domain.ids import is_reserved
from parley.domain.messages import Message
from parley.domain.params import Params
from parley.domain.ports import Job
from parley.domain.receipts import Mark, Receipt
from parley.domain.rooms import Ban, Member, Room
from parley.domain.sessions import Session
from parley.domain.streams import ROOM, Create, Delete, Naming, Stream
from parley.domain.tickets import Ticket
from parley.store.accounts import AccountQueries
from parley.store.audit import AuditQueries
from parley.store.conversations import ConversationQueries
from parley.store.helpdesk import HelpdeskQueries
from parley.store.messages import MessageQueries
from parley.store.nodes import NodeQueries
from parley.store.receipts import ReceiptQueries
from parley.store.rooms import RoomQueries
from parley.store.sessions import SessionQueries
from parley.store.streams import StreamQueries


class Unit(
    RoomQueries,
    MessageQueries,
    ReceiptQueries,
    AccountQueries,
    SessionQueries,
    AuditQueries,
    ConversationQueries,
    HelpdeskQueries,
    StreamQueries,
    NodeQueries,
):
    """One transaction: implements `ports.Transaction`."""


class _Names(NamedTuple):
    """Which things a command's parameters name, by the names of its fields."""

    room: bool
    message: bool
    reply_to: bool
    client_id: bool
    subject: bool
    account: bool
    session: bool
    digest: bool
    reason: bool
    receipt: bool
    about: bool
    queue: bool
    streamed: bool
    talk: bool

    @classmethod
    def of(cls, kind: type[Params]) -> "_Names":
        names = {field.name for field in fields(kind)}
        about = issubclass(kind, About)
        queue = about or issubclass(kind, Start | Begin)
        streamed, talk = issubclass(kind, Naming), kind in (Create, Delete)
        return cls._make([*(name in names for name in cls._fields[:-5]), kind is Mark, about, queue, streamed, talk])


_NAMES: Final[dict[type[Params], _Names]] = {}


def prefetch(unit: Unit, jobs: Sequence[Job]) -> None:
    """Lock what these commands are about, in the one order that everybody locks in, and read what they will ask for.

    One statement for each kind of row. Only commands' targets are locked; what is merely read may change at any time.
    """
    messages: set[str] = set()
    for job in jobs:
        p: Any = job.params
        names = _NAMES.get(type(p))
        if names is None:
            names = _NAMES[type(p)] = _Names.of(type(p))
        if names.message:
            messages.add(p.message)
        if names.reply_to and p.reply_to is not None:
            messages.add(p.reply_to)
    # A message names its room only once it is read; what it says is read again below, under the room's lock.
    unit.load(Message, messages)

    rooms: set[str] = set()
    memberships: set[tuple[str, str]] = set()
    accounts: set[str] = set()
    accounts_locked: set[str] = set()
    sent: set[tuple[str, str, str]] = set()
    receipts: set[tuple[str, str]] = set()
    sessions: set[str] = set()
    tickets: set[str] = set()
    conversations: set[str] = set()
    streams: set[str] = set()
    for job in jobs:
        p = job.params
        names = _NAMES[type(p)]
        subject = job.principal.subject
        accounts.add(subject)
        room = p.room if names.room else None
        if names.message and (message := unit.get(Message, p.message)) is not None:
            room = message.room
        if names.subject and p.subject is not None:
            accounts.add(p.subject)
        if names.account and p.account is not None:
            accounts_locked.add(p.account)
        if names.session and p.session is not None:
            sessions.add(p.session)
        if names.digest:
            tickets.add(p.digest)
        if names.queue:
            rooms.add(QUEUE)
        if names.streamed:
            streams.add(p.stream)
        if names.talk:
            rooms.add(ROOM + p.stream)
        if names.about:
            room = p.conversation
            if names.reason and p.reason:
                rooms.add(room + NOTES)  # where the reason is told
        if room is None:
            continue
        rooms.add(room)
        if is_reserved(room) and not room.startswith(ROOM):  # who is there is no matter of rows
            conversations.add(room.removesuffix(NOTES))
        else:
            memberships.add((room, subject))
            if names.subject:
                memberships.add((room, p.subject))
        if names.client_id and p.client_id is not None:
            sent.add((room, subject, p.client_id))
        if names.receipt:
            receipts.add((room, subject))
    unit.load_together(
        unit.asking(Room, rooms, lock=True),
        unit.asking(Account, accounts_locked, lock=True),
        unit.asking(Session, sessions, lock=True),
        unit.asking(Ticket, tickets, lock=True),
        unit.asking(Stream, streams, lock=True),
        unit.asking(Message, messages, again=unit.engine.locks),
        unit.asking(Member, memberships),
        unit.asking(Ban, memberships),
        unit.asking(Account, accounts - accounts_locked),
        unit.asking(Receipt, receipts),
        unit.asking(Conversation, conversations),
        unit.asking(Visitor, conversations),
        unit.asking_sent(sent),
    )
