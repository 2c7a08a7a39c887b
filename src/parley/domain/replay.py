"""Reading a room's log back: `event.list`, and the reading half of `room.subscribe`.

A replay never carries the text of a message deleted since, nor an old text of one edited since: an entry that refers to
a message is told with the message's present state. What joins a replay to what is live is `delivery/catchup.py`.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from parley.domain.conversations import QUEUE, Visitor, shown
from parley.domain.events import Event
from parley.domain.ids import Id, rfc3339
from parley.domain.log import Entry
from parley.domain.messages import Message, message_view
from parley.domain.params import Params, Seq
from parley.domain.ports import Acting, Decision, Transaction
from parley.domain.principal import Person
from parley.domain.rooms import Room, readable

PAGE_MAX = 1000  # events in one page
_TELLS_OF_VISITORS = "conversation."


class EventList(Params):
    room: Id
    after: Seq
    epoch: str | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_MAX


class Subscribe(Params):
    room: Id
    after: Seq | None = None
    epoch: str | None = None


class Unsubscribe(Params):
    room: Id


class Missing(Params):
    """Not on the wire: what a hub that fell behind reads, whoever may read it."""

    room: str
    after: int


class Subscribed(Struct):
    """The reply to `room.subscribe`, with what the hub must know besides: the reader's role there, or None.

    `privy`: the reader is also given what only agents see.
    """

    reply: dict[str, Any]
    role: str | None
    public: bool
    privy: bool = False


class Page(Struct):
    """A page of a log: `complete` says that it reaches the head, `reset` that what the client holds is void."""

    events: list[Event]
    complete: bool
    reset: bool


def list_events(tx: Transaction, p: EventList, who: Acting) -> Decision:
    room = readable(tx, p.room, who).room
    page = page_of(tx, room, after=p.after, epoch=p.epoch, limit=p.limit, bytes_max=who.rules.replay_bytes)
    return Decision({"events": page.events, "complete": page.complete, "epoch": tx.epoch, "reset": page.reset})


def subscribe(tx: Transaction, p: Subscribe, who: Acting) -> Decision:
    """The reading half of `room.subscribe`, as of this transaction."""
    access = readable(tx, p.room, who)
    room = access.room
    if p.after is None and (p.epoch is None or p.epoch == tx.epoch):
        page = Page([], complete=True, reset=False)
    else:
        page = page_of(
            tx,
            room,
            after=p.after or 0,
            epoch=p.epoch,
            limit=PAGE_MAX,
            bytes_max=who.rules.replay_bytes,
        )
    last = page.events[-1].seq if page.events and not page.complete else room.seq
    reply = {
        "room": p.room,
        "epoch": tx.epoch,
        "seq": last,
        "events": page.events,
        "complete": page.complete,
        "reset": page.reset,
    }
    return Decision(Subscribed(reply, access.role, room.visibility == "public", access.privy))


def unsubscribe(tx: Transaction, p: Unsubscribe, who: Acting) -> Decision:
    """Asked only where nothing is subscribed: there nothing ends, but what one may not read does not exist."""
    readable(tx, p.room, who)
    return Decision({})


def missing(tx: Transaction, p: Missing, who: Acting) -> Decision:
    """The events behind `after`, one page of them, and whether that is all: `(events, complete)`."""
    room = tx.get(Room, p.room)
    if room is None:
        return Decision(([], True))
    page = page_of(tx, room, after=p.after, epoch=None, limit=PAGE_MAX, bytes_max=who.rules.replay_bytes)
    return Decision((page.events, page.complete))


def event_of(tx: Transaction, entry: Entry, message: Message | None) -> Event:
    """The event as it is told today: with the message's present state, and with what is known of the visitor now."""
    if message is not None:
        data: dict[str, Any] = {"message": message_view(message)}
    else:
        data = msgspec.json.decode(entry.data or "{}")
        if entry.type.startswith(_TELLS_OF_VISITORS):
            data = shown(tx, data)
    actor = Person(entry.actor, entry.actor_name, entry.actor_type)
    return Event(entry.room, entry.seq, entry.type, rfc3339(entry.at_ms), actor, data)


def page_of(tx: Transaction, room: Room, *, after: int, epoch: str | None, limit: int, bytes_max: int) -> Page:
    """The events behind `after`, at most `limit` and `bytes_max` bytes of JSON, but at least one.

    A foreign `epoch`, or an `after` beyond the head, gives the newest page with `reset`.
    """
    if (epoch is not None and epoch != tx.epoch) or after > room.seq:
        newest = _bounded(tx, tx.entries(room.id, max(0, room.seq - limit), limit), bytes_max, newest=True)
        return Page(newest, complete=True, reset=True)
    events = _bounded(tx, tx.entries(room.id, after, limit), bytes_max, newest=False)
    last = events[-1].seq if events else after
    return Page(events, complete=last >= room.seq, reset=False)


def _bounded(
    tx: Transaction, entries: Sequence[tuple[Entry, Message | None]], bytes_max: int, *, newest: bool
) -> list[Event]:
    tx.load(Visitor, {_conversation(entry) for entry, _ in entries if entry.type.startswith(_TELLS_OF_VISITORS)})
    kept: list[Event] = []
    size = 0
    for entry, message in reversed(entries) if newest else entries:
        event = event_of(tx, entry, message)
        size += len(msgspec.json.encode(event))
        if kept and size > bytes_max:
            break
        kept.append(event)
    if newest:
        kept.reverse()
    return kept


class _About(Struct):
    id: str


class _Told(Struct):
    conversation: _About


_told = msgspec.json.Decoder(_Told)


def _conversation(entry: Entry) -> str:
    """Which conversation an entry is about: its own room's, unless that is the queue."""
    return entry.room if entry.room != QUEUE else _told.decode(entry.data or "").conversation.id
