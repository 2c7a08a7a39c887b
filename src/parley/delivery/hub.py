"""Which connections of this node read which room, and one event written to all of them.

An event comes from the bus, which may lose, repeat and reorder; a room gives each `seq` once and in order, and reads
from the store what it misses. Each event is encoded once for each encoder, and the same bytes go to every socket.
Who may subscribe is decided elsewhere; what joins a replay to the live events is `catchup.py`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from parley.delivery.outbox import Place, Turn
from parley.domain.events import Event, Signal

log = logging.getLogger(__name__)

#: Deliveries in one uninterrupted stretch of the loop: about 10 ms of writes.
SLICE: Final = 2000
#: Events kept for one subscription on its way; one that would need more reads the log again.
HEARD_MAX: Final = 1000


class Encoder(Protocol):
    """What a group of subscribers share: their dialect, and with it the frames. One object for each group of equals.

    No bytes at all: these subscribers are not told of it.
    """

    def event(self, event: Event) -> bytes: ...
    def signal(self, signal: Signal) -> bytes: ...


class ReaderOutbox(Protocol):
    """What the hub needs of an `Outbox`."""

    @property
    def congested(self) -> bool: ...
    def put_events(self, frames: bytes, place: Place, before: int, *, asked: bool = False) -> None: ...
    def withhold(self) -> None: ...
    def next_page(self, read: Callable[[], None]) -> None: ...
    def page_read(self) -> None: ...


class Reader(Protocol):
    """What the hub needs of a connection."""

    @property
    def outbox(self) -> ReaderOutbox: ...
    @property
    def encoder(self) -> Encoder: ...
    def write(self, data: bytes, /) -> None:
        """Hand over what its encoder made, of one event or of several. May raise once the socket has gone."""

    @property
    def subject(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def is_admin(self) -> bool: ...
    def subscription_ended(self, subscription: "Subscription", reason: str) -> None:
        """The hub has taken it off the list; tell the client why."""

    def stranded(self, subscription: "Subscription") -> None:
        """What it missed can't be read now; `catchup.follow` it again when the store is back."""


class Subscription:
    """One connection's place in one room. `role` is the reader's role there, None for one who is no member; `privy`
    readers are also shown what only agents see.

    While it is held (see `Hub.hold`), `told` is the last event that was handed to the reader's socket; `follows` is
    what `catchup.follow` works through, None while nothing does.
    """

    __slots__ = ("follows", "group", "live_after", "made_at_s", "privy", "reader", "role", "room", "told")

    def __init__(self, reader: Reader, room: str, role: str | None, *, privy: bool = False) -> None:
        self.reader = reader
        self.room = room
        self.role = role
        self.privy = privy
        self.group: _Group | None = None
        self.live_after = 0
        self.made_at_s = 0.0
        self.told = 0
        self.follows: object = None

    @property
    def is_live(self) -> bool:
        """Whether what the room hears goes to the reader by itself."""
        return self.group is not None

    def regroup(self) -> None:
        """The reader's socket stopped or resumed draining: it leaves or rejoins the fast round."""
        if self.group is not None:
            self.group.stale = True


class _Group:
    """The subscribers of a room that share one encoder, and are shown the same."""

    __slots__ = ("congested", "encoder", "members", "pending", "privy", "stale", "writers")

    def __init__(self, encoder: Encoder, *, privy: bool) -> None:
        self.encoder = encoder
        self.privy = privy
        self.members: dict[Subscription, None] = {}
        self.congested: list[Subscription] = []
        self.writers: list[Callable[[bytes], None]] = []
        self.pending: list[bytes] = []
        self.stale = False

    def refresh(self) -> None:
        # Built anew at a flush, not at each join: a thousand that come back at once cost one list, not a thousand.
        self.stale = False
        self.congested = [s for s in self.members if s.reader.outbox.congested]
        self.writers = [s.reader.write for s in self.members if not s.reader.outbox.congested]


class Joining:
    """A subscription on its way: what the room hears meanwhile is kept for it. Made by `Hub.begin`."""

    __slots__ = ("heard", "room")

    def __init__(self, room: "_Room") -> None:
        self.room = room
        self.heard: dict[int, Event] = {}

    def hear(self, event: Event) -> None:
        self.heard[event.seq] = event
        if len(self.heard) > HEARD_MAX:
            del self.heard[next(iter(self.heard))]


class _Room:
    __slots__ = (
        "behind",
        "by_subject",
        "flushed",
        "flushed_at_s",
        "groups",
        "hub",
        "id",
        "joining",
        "marked",
        "public",
        "reading",
        "rest",
        "seq",
        "subscribers",
        "waiting",
    )

    def __init__(self, hub: "Hub", room_id: str) -> None:
        self.hub = hub
        self.id = room_id
        self.seq: int | None = None  # the last event given to the groups; None until a first read told the head
        self.groups: dict[tuple[Encoder, bool], _Group] = {}
        self.subscribers: dict[Reader, Subscription] = {}
        self.by_subject: dict[str, list[Subscription]] = {}
        self.joining: list[Joining] = []
        self.waiting: list[Subscription] = []  # in order of `live_after`: their replay went beyond `seq`
        self.flushed = 0  # the last event that was written to the groups
        self.flushed_at_s = 0.0
        self.public = True
        self.marked = False
        self.reading = False
        self.behind = 0  # the highest seq heard of beyond a gap
        #: Slices of a round that still have to go out: to whom, what, and the seq before it.
        self.rest: list[tuple[list[Callable[[bytes], None]], bytes, int]] = []

    # --- in ---

    def accept(self, event: Event) -> None:
        """Take the next event; drop one that came before; read what is missing where one came too early."""
        for joining in self.joining:
            joining.hear(event)
        if self.seq is None or event.seq <= self.seq:
            return
        if event.seq > self.seq + 1:
            self.behind = max(self.behind, event.seq)
            self.hub.read_missing(self)
            return
        if self.waiting:
            self._admit_waiting(event.seq)
        change = _CHANGING.get(event.type)
        if change is not None:
            change(self, event)
        self.seq = event.seq
        self._queue(lambda group: group.encoder.event(event))
        if change is not None:
            self.hub.forget_if_idle(self)

    def signal(self, signal: Signal | None, privy: Signal | None) -> None:
        if self.waiting and self.seq is not None:
            self._admit_waiting(self.seq + 1)

        def encode(group: _Group) -> bytes | None:
            shown = privy if group.privy else signal
            return None if shown is None else group.encoder.signal(shown)

        self._queue(encode)

    def _queue(self, encode: Callable[[_Group], bytes | None]) -> None:
        for group in self.groups.values():
            if group.members and (encoded := encode(group)):
                group.pending.append(encoded)
                if not self.marked:
                    self.marked = True
                    self.hub.turn.mark_room(self)

    # --- out ---

    def settle(self) -> None:
        """Write to every subscriber what is pending, wholly: also what an earlier slice left over.

        As with every flush, what has come due takes effect first: it may end subscriptions, so look anew after this.
        """
        if self.marked or self.rest:
            # An answer to `room.subscribe` may still lie in an outbox, and precedes the events behind it.
            self.hub.turn.flush_outboxes()
            self._write(slice_max=0)

    def flush(self) -> None:
        """What the turn calls: as `settle`, but a large round is cut into slices, so that the loop can breathe."""
        self._write(slice_max=SLICE)

    def _write(self, slice_max: int) -> None:
        while self.rest:
            writers, data, _ = self.rest.pop(0)
            _write_all(writers, data)
        self.marked = False
        before = self.flushed
        # A copy: a congested reader that overflows is unsubscribed meanwhile, and its group may go with it.
        for group in list(self.groups.values()):
            if not group.pending:
                continue
            data = group.pending[0] if len(group.pending) == 1 else b"".join(group.pending)
            group.pending = []
            if group.stale:
                group.refresh()
            for subscription in group.congested:
                subscription.told = self.seq or 0
                subscription.reader.outbox.put_events(data, subscription, max(before, subscription.live_after))
            if slice_max and len(group.writers) > slice_max:
                _write_all(group.writers[:slice_max], data)
                for start in range(slice_max, len(group.writers), slice_max):
                    self.rest.append((group.writers[start : start + slice_max], data, before))
            else:
                _write_all(group.writers, data)
            self.flushed_at_s = self.hub.clock_s()
            self.hub.deliveries += len(group.members)
        self.flushed = self.seq or 0
        if self.rest:
            self.hub.call_soon(self._next_slice)

    def _next_slice(self) -> None:
        if self.rest:
            writers, data, _ = self.rest.pop(0)
            _write_all(writers, data)
        if self.rest:
            self.hub.call_soon(self._next_slice)

    # --- who ---

    def add(self, subscription: Subscription, head: int) -> None:
        """Make it a subscriber that was told everything up to `head`; `settle` first."""
        reader = subscription.reader
        self.subscribers[reader] = subscription
        self.by_subject.setdefault(reader.subject, []).append(subscription)
        subscription.live_after = head
        subscription.made_at_s = self.hub.clock_s()
        assert self.seq is not None
        if self.seq < head:
            self.waiting.append(subscription)
            self.behind = max(self.behind, head)
        else:
            self._enlist(subscription)

    def drop(self, subscription: Subscription) -> bool:
        """Take it off the list; False where it is not on it (any more)."""
        reader = subscription.reader
        if self.subscribers.get(reader) is not subscription:
            return False
        del self.subscribers[reader]
        same = self.by_subject[reader.subject]
        same.remove(subscription)
        if not same:
            del self.by_subject[reader.subject]
        self._take_off(subscription)
        self.hub.left(subscription)
        return True

    def park(self, subscription: Subscription) -> None:
        """Write nothing more to it, what is pending included, but keep it: note the last event that was handed over."""
        if self.subscribers.get(subscription.reader) is not subscription:
            return
        if subscription.group is not None:
            # The room may have had nobody to write to, and so written nothing, when this one came to it.
            subscription.told = max(self.flushed, subscription.live_after)
            write = subscription.reader.write
            for index, (writers, data, before) in enumerate(self.rest):
                if write in writers:
                    self.rest[index] = ([other for other in writers if other != write], data, before)
                    subscription.told = max(before, subscription.live_after)
        elif subscription in self.waiting:
            subscription.told = subscription.live_after
        self._take_off(subscription)
        self.hub.left(subscription)

    def _take_off(self, subscription: Subscription) -> None:
        group = subscription.group
        if group is not None:
            del group.members[subscription]
            group.stale = True
            subscription.group = None
            if not group.members:
                del self.groups[group.encoder, group.privy]
        elif subscription in self.waiting:
            self.waiting.remove(subscription)

    def end(self, subscriptions: Sequence[Subscription], reason: str) -> None:
        """Write what is pending, then end these, and tell each reader why."""
        if subscriptions:
            self.settle()
            for subscription in subscriptions:
                if self.drop(subscription):
                    subscription.reader.subscription_ended(subscription, reason)

    def told_of(self, event: Event) -> list[Subscription]:
        """The subscriptions of the member that an event is about, but for those that were made after it."""
        return [s for s in self.by_subject.get(_subject(event), ()) if s.live_after < event.seq]

    def _enlist(self, subscription: Subscription) -> None:
        encoder, privy = subscription.reader.encoder, subscription.privy
        group = self.groups.get((encoder, privy))
        if group is None:
            group = self.groups[encoder, privy] = _Group(encoder, privy=privy)
        group.members[subscription] = None
        group.stale = True
        subscription.group = group

    def _admit_waiting(self, seq: int) -> None:
        """Enlist those that were told everything before `seq`."""
        if any(s.live_after < seq for s in self.waiting):
            self.settle()
            due = [s for s in self.waiting if s.live_after < seq]
            self.waiting = [s for s in self.waiting if s.live_after >= seq]
            for subscription in due:
                self._enlist(subscription)

    @property
    def is_idle(self) -> bool:
        return not self.subscribers and not self.joining


def _write_all(writers: Sequence[Callable[[bytes], None]], data: bytes) -> None:
    """Write to each; one that has gone must neither end the round nor blame whoever spoke."""
    remaining = iter(writers)
    while True:
        try:
            for write in remaining:
                write(data)
            return
        except (RuntimeError, OSError):
            pass  # its connection_lost is on its way; the iterator stands behind it already
        except Exception:
            log.exception("a reader could not be written to")


class Hub:
    """All rooms that somebody on this node reads.

    `read(room, after, done)` reads a page of missing events and calls `done((events, complete) | None)` on the loop.
    `left(subscription)` hears of every subscription that ended, `came(subscription)` of every one that began.
    """

    def __init__(
        self,
        turn: Turn,
        call_soon: Callable[[Callable[[], None]], object],
        read: Callable[[str, int, Callable[[tuple[list[Event], bool] | None], None]], None],
        clock_s: Callable[[], float],
    ) -> None:
        self.clock_s = clock_s
        self.turn = turn
        self.call_soon = call_soon
        self._read = read
        self.rooms: dict[str, _Room] = {}
        self.came: Callable[[Subscription], None] = _nothing
        self.left: Callable[[Subscription], None] = _nothing
        self.deliveries = 0

    def publish(self, events: Iterable[Event]) -> None:
        """Take events from the bus, in any order."""
        for event in events:
            room = self.rooms.get(event.room)
            if room is not None:
                room.accept(event)

    def signal(self, signal: Signal) -> None:
        self.signal_apart(signal, signal)

    def signal_apart(self, signal: Signal | None, privy: Signal | None) -> None:
        """Tell the readers of a room, and tell `privy` instead to those who are shown more; None is told nobody."""
        either = privy or signal
        room = None if either is None else self.rooms.get(either.room)
        if room is not None:
            room.signal(signal, privy)

    def heads(self) -> dict[str, int]:
        """The rooms that are read here, and the `seq` that each has reached: what the poll asks with."""
        return {room.id: room.seq for room in self.rooms.values() if room.seq is not None}

    def moved(self, heads: dict[str, int]) -> None:
        """What the poll found: rooms whose log goes beyond what was heard here."""
        for room_id, head in heads.items():
            room = self.rooms.get(room_id)
            if room is not None and room.seq is not None and head > room.seq:
                room.behind = max(room.behind, head)
                self.read_missing(room)

    def read_missing(self, room: _Room) -> None:
        if room.reading or room.seq is None:
            return
        room.reading = True

        def done(page: tuple[list[Event], bool] | None) -> None:
            room.reading = False
            if page is None:  # the store is away; the poll comes back to it
                return
            for event in page[0]:
                room.accept(event)
            if room.seq is not None and (not page[1] or room.behind > room.seq) and page[0]:
                self.read_missing(room)

        self._read(room.id, room.seq, done)

    def flushed_at_s(self, subscription: Subscription) -> float:
        """When the subscription's room last wrote to its readers, on the hub's clock."""
        room = self.rooms.get(subscription.room)
        return room.flushed_at_s if room is not None else 0.0

    # --- subscriptions ---

    def begin(self, room_id: str, reader: Reader) -> Joining:
        """Keep what the room hears from now on, until `finish` or `cancel`. A subscription it has there ends."""
        room = self.rooms.get(room_id)
        if room is not None and (old := room.subscribers.get(reader)) is not None:
            self.unsubscribe(old)
        return self.listen(room_id)

    def listen(self, room_id: str) -> Joining:
        """As `begin`, for a subscription that is held and goes on."""
        room = self.rooms.get(room_id)
        if room is None:
            room = self.rooms[room_id] = _Room(self, room_id)
        joining = Joining(room)
        room.joining.append(joining)
        return joining

    def cancel(self, joining: Joining) -> None:
        if joining in joining.room.joining:
            joining.room.joining.remove(joining)
        self.forget_if_idle(joining.room)

    def finish(self, joining: Joining, subscription: Subscription, head: int, *, public: bool) -> list[Event] | None:
        """Make it live behind `head`, the last event that the reader was or will be told by the caller.

        Returns the events beyond `head` that the room has given already: the caller tells them, in order, before
        anything that follows. None where some of those were never heard here, or may have changed what the reader is in
        the room: read anew, then finish again.
        """
        room = joining.room
        reader = subscription.reader
        if room.seq is None:
            room.seq = head
            for seq in sorted(joining.heard):
                room.accept(joining.heard[seq])
        if room.seq - head > len(joining.heard):
            return None
        missed = [joining.heard.get(seq) for seq in range(head + 1, room.seq + 1)]
        told = [event for event in missed if event is not None]
        if len(told) < len(missed) or any(_concerns(event, reader) for event in told):
            return None
        room.settle()
        room.joining.remove(joining)
        if (old := room.subscribers.get(reader)) is not None:
            room.drop(old)
        room.public = public
        room.add(subscription, max(head, room.seq))
        self.came(subscription)
        return told

    def hold(self, subscription: Subscription) -> None:
        """Hand its reader nothing more until `catchup.follow` takes it up; what it was told last stands in `told`.

        Events that wait in the reader's outbox are taken back by `Outbox.withhold`, after this.
        """
        room = self.rooms.get(subscription.room)
        if room is not None:
            room.park(subscription)

    def holds(self, subscription: Subscription) -> bool:
        """Whether it is still a subscription at all."""
        room = self.rooms.get(subscription.room)
        return room is not None and room.subscribers.get(subscription.reader) is subscription

    def reconsider(self, subscription: Subscription, *, granted: bool) -> None:
        """Its reader's roles or grants have changed: end it where they do not allow reading any more."""
        room = self.rooms.get(subscription.room)
        if room is None:
            return
        reads = subscription.role is not None or room.public or subscription.reader.is_admin
        if not granted or not reads:
            room.end([subscription], "forbidden")
            self.forget_if_idle(room)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End it without a word to the client. What is pending is written first."""
        room = self.rooms.get(subscription.room)
        if room is None or room.subscribers.get(subscription.reader) is not subscription:
            return
        room.settle()
        room.drop(subscription)
        self.forget_if_idle(room)

    def end(self, room_id: str, subject: str, reason: str, *, made_before_s: float) -> None:
        """End a subject's subscriptions to a room, but for those made since, and tell it why."""
        room = self.rooms.get(room_id)
        if room is not None:
            room.end([s for s in room.by_subject.get(subject, ()) if s.made_at_s < made_before_s], reason)
            self.forget_if_idle(room)

    def end_one(self, subscription: Subscription, reason: str) -> None:
        """End this subscription, and tell its reader why."""
        room = self.rooms.get(subscription.room)
        if room is not None:
            room.end([subscription], reason)
            self.forget_if_idle(room)

    def forget_if_idle(self, room: _Room) -> None:
        if room.is_idle and self.rooms.get(room.id) is room:
            del self.rooms[room.id]


def _nothing(_: Any) -> None:
    return


# --- events that end subscriptions, or change what a subscriber is ---------------------------------------------------


def _removed(room: _Room, event: Event) -> None:
    gone = room.told_of(event)
    for subscription in gone:
        subscription.role = None
    room.end(gone, "banned" if event.data.get("banned") else "removed")


def _left(room: _Room, event: Event) -> None:
    gone = room.told_of(event)
    for subscription in gone:
        subscription.role = None
        room.hub.left(subscription)
    if not room.public:
        room.end([s for s in gone if not s.reader.is_admin], "left")


def _updated(room: _Room, event: Event) -> None:
    view = event.data["room"]
    room.public = (view["visibility"] if isinstance(view, dict) else view.visibility) == "public"
    if not room.public:
        strangers = [s for s in room.subscribers.values() if s.role is None and s.live_after < event.seq]
        room.end([s for s in strangers if not s.reader.is_admin], "forbidden")


def _role(room: _Room, event: Event) -> None:
    member = event.data["member"]
    for subscription in room.told_of(event):
        was_member = subscription.role is not None
        subscription.role = member["role"] if isinstance(member, dict) else member.role
        if not was_member:
            room.hub.came(subscription)


def _subject(event: Event) -> str:
    member = event.data["member"]  # a view, or what it became in the store
    subject: str = member["subject"] if isinstance(member, dict) else member.subject
    return subject


def _concerns(event: Event, reader: Reader) -> bool:
    """Whether an event may have changed what this reader is in the room, or may read there."""
    return event.type == "room.updated" or (event.type in _CHANGING and _subject(event) == reader.subject)


_CHANGING: Final[dict[str, Callable[[_Room, Event], None]]] = {
    "member.removed": _removed,
    "member.left": _left,
    "member.joined": _role,
    "member.role_changed": _role,
    "room.updated": _updated,
}
