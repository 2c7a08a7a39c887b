"""Which connections of this node read which room, and one event written to all of them.

An event comes from the bus, which may lose, repeat and reorder; a room gives each `seq` once and in order, and reads
from the store what it misses. Each event is encoded once for each encoder, and the same bytes go to every socket.
Who may subscribe is decided elsewhere; what joins a replay to the live events is `catchup.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from parley.delivery.outbox import Outbox, Turn
from parley.domain.events import Event, Signal

#: Deliveries in one uninterrupted stretch of the loop: about 10 ms of writes.
SLICE = 2000


class Encoder(Protocol):
    """What a group of subscribers share: their dialect, and with it the frames. One object for each group of equals."""

    def event(self, event: Event) -> bytes: ...
    def signal(self, signal: Signal) -> bytes: ...


class Reader(Protocol):
    """What the hub needs of a connection."""

    outbox: Outbox
    write: Callable[[bytes], None]
    encoder: Encoder

    @property
    def subject(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def is_admin(self) -> bool: ...
    def subscription_ended(self, subscription: "Subscription", reason: str) -> None:
        """The hub has taken it off the list; tell the client why."""


class Subscription:
    """One connection's place in one room. `role` is the reader's role there, None for one who is no member."""

    __slots__ = ("group", "live_after", "reader", "role", "room")

    def __init__(self, reader: Reader, room: str, role: str | None) -> None:
        self.reader = reader
        self.room = room
        self.role = role
        self.group: _Group | None = None
        self.live_after = 0

    def regroup(self) -> None:
        """The reader's socket stopped or resumed draining: it leaves or rejoins the fast round."""
        if self.group is not None:
            self.group.stale = True


class _Group:
    """The subscribers of a room that share one encoder."""

    __slots__ = ("congested", "encoder", "members", "pending", "stale", "writers")

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
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


class _Room:
    __slots__ = (
        "behind",
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
        self.groups: dict[Encoder, _Group] = {}
        self.subscribers: dict[Reader, Subscription] = {}
        self.joining: list[Joining] = []
        self.waiting: list[Subscription] = []  # in order of `live_after`: their replay went beyond `seq`
        self.flushed_at_s = 0.0
        self.public = True
        self.marked = False
        self.reading = False
        self.behind = 0  # the highest seq heard of beyond a gap
        self.rest: list[tuple[list[Callable[[bytes], None]], bytes]] = []  # slices of a round that still have to go out

    # --- in ---

    def accept(self, event: Event) -> None:
        """Take the next event; drop one that came before; read what is missing where one came too early."""
        for joining in self.joining:
            joining.heard[event.seq] = event
        if self.seq is None or event.seq <= self.seq:
            return
        if event.seq > self.seq + 1:
            self.behind = max(self.behind, event.seq)
            self.hub.read_missing(self)
            return
        if self.waiting:
            self._admit_waiting(event.seq)
        if event.type in _ENDING:
            self.settle()
            _ENDING[event.type](self, event)
        self.seq = event.seq
        self._queue(lambda encoder: encoder.event(event))

    def signal(self, signal: Signal) -> None:
        self._queue(lambda encoder: encoder.signal(signal))

    def _queue(self, encode: Callable[[Encoder], bytes]) -> None:
        for encoder, group in self.groups.items():
            if group.members:
                group.pending.append(encode(encoder))
                if not self.marked:
                    self.marked = True
                    self.hub.turn.mark_room(self)

    # --- out ---

    def settle(self) -> None:
        """Write to every subscriber what is pending, wholly: also what an earlier slice left over."""
        self._write(slice_max=0)

    def flush(self) -> None:
        """What the turn calls: as `settle`, but a large round is cut into slices, so that the loop can breathe."""
        self._write(slice_max=SLICE)

    def _write(self, slice_max: int) -> None:
        while self.rest:
            _write_all(*self.rest.pop(0))
        self.marked = False
        for group in self.groups.values():
            if not group.pending:
                continue
            data = group.pending[0] if len(group.pending) == 1 else b"".join(group.pending)
            group.pending = []
            if group.stale:
                group.refresh()
            for subscription in group.congested:
                subscription.reader.outbox.put(data)
            if slice_max and len(group.writers) > slice_max:
                _write_all(group.writers[:slice_max], data)
                for start in range(slice_max, len(group.writers), slice_max):
                    self.rest.append((group.writers[start : start + slice_max], data))
            else:
                _write_all(group.writers, data)
            self.flushed_at_s = self.hub.clock_s()
            self.hub.deliveries += len(group.members)
        if self.rest:
            self.hub.call_soon(self._next_slice)

    def _next_slice(self) -> None:
        if self.rest:
            _write_all(*self.rest.pop(0))
        if self.rest:
            self.hub.call_soon(self._next_slice)

    # --- who ---

    def enlist(self, subscription: Subscription) -> None:
        reader = subscription.reader
        group = self.groups.get(reader.encoder)
        if group is None:
            group = self.groups[reader.encoder] = _Group(reader.encoder)
        group.members[subscription] = None
        group.stale = True
        subscription.group = group

    def unlist(self, subscription: Subscription) -> None:
        if self.subscribers.get(subscription.reader) is subscription:
            del self.subscribers[subscription.reader]
        group = subscription.group
        if group is None:
            if subscription in self.waiting:
                self.waiting.remove(subscription)
            return
        group.members.pop(subscription, None)
        group.stale = True
        subscription.group = None
        if not group.members:
            self.groups.pop(group.encoder, None)

    def _admit_waiting(self, seq: int) -> None:
        due = [s for s in self.waiting if s.live_after < seq]
        if due:
            self.settle()
            self.waiting = [s for s in self.waiting if s.live_after >= seq]
            for subscription in due:
                self.enlist(subscription)

    def end(self, subscription: Subscription, reason: str) -> None:
        self.unlist(subscription)
        self.hub.left(subscription)
        subscription.reader.subscription_ended(subscription, reason)

    def of_subject(self, subject: str) -> list[Subscription]:
        return [s for s in self.subscribers.values() if s.reader.subject == subject]

    def told_of(self, event: Event) -> list[Subscription]:
        """The subscriptions of the member that an event is about, but for those that were made after it."""
        return [s for s in self.of_subject(_member(event)["subject"]) if s.live_after < event.seq]

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
            continue  # its connection_lost is on its way; the iterator stands behind it already


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
        room = self.rooms.get(signal.room)
        if room is not None:
            room.signal(signal)

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
            room = self.rooms.get(room_id)
        if room is None:
            room = self.rooms[room_id] = _Room(self, room_id)
        joining = Joining(room)
        room.joining.append(joining)
        return joining

    def cancel(self, joining: Joining) -> None:
        if joining in joining.room.joining:
            joining.room.joining.remove(joining)
        self._forget_if_idle(joining.room)

    def finish(self, joining: Joining, subscription: Subscription, head: int, *, public: bool) -> list[Event] | None:
        """Make it live behind `head`, the last event that the reader was or will be told by the caller.

        Returns the events beyond `head` that the room has given already: the caller tells them, in order, before
        anything that follows. None where some of those were never heard here, or may have changed what the reader is in
        the room: read on from `head`, then finish again.
        """
        room = joining.room
        if room.seq is None:
            room.seq = head
            for seq in sorted(joining.heard):
                room.accept(joining.heard[seq])
        extra = [joining.heard.get(seq) for seq in range(head + 1, room.seq + 1)]
        told = [event for event in extra if event is not None]
        if len(told) < len(extra) or any(event.type in _ENDING for event in told):
            return None
        room.joining.remove(joining)
        room.settle()
        room.public = public
        room.subscribers[subscription.reader] = subscription
        subscription.live_after = head
        if room.seq < head:
            room.waiting.append(subscription)
            room.behind = max(room.behind, head)
        else:
            room.enlist(subscription)
        self.came(subscription)
        return told

    def unsubscribe(self, subscription: Subscription) -> None:
        """End it without a word to the client. What is pending is written first."""
        room = self.rooms.get(subscription.room)
        if room is None or room.subscribers.get(subscription.reader) is not subscription:
            return
        room.settle()
        room.unlist(subscription)
        self.left(subscription)
        self._forget_if_idle(room)

    def end(self, room_id: str, subject: str, reason: str) -> None:
        """End a subject's subscriptions to a room, and tell it why."""
        room = self.rooms.get(room_id)
        if room is not None:
            room.settle()
            for subscription in room.of_subject(subject):
                room.end(subscription, reason)
            self._forget_if_idle(room)

    def _forget_if_idle(self, room: _Room) -> None:
        if room.is_idle and self.rooms.get(room.id) is room:
            del self.rooms[room.id]


def _nothing(_: Any) -> None:
    return


# --- events that end subscriptions, or change what a subscriber is ---------------------------------------------------


def _removed(room: _Room, event: Event) -> None:
    reason = "banned" if event.data.get("banned") else "removed"
    for subscription in room.told_of(event):
        room.end(subscription, reason)


def _left(room: _Room, event: Event) -> None:
    for subscription in room.told_of(event):
        subscription.role = None
        room.hub.left(subscription)
        if not room.public and not subscription.reader.is_admin:
            room.end(subscription, "left")


def _updated(room: _Room, event: Event) -> None:
    view = event.data["room"]
    room.public = (view["visibility"] if isinstance(view, dict) else view.visibility) == "public"
    if not room.public:
        for subscription in list(room.subscribers.values()):
            if subscription.role is None and subscription.live_after < event.seq and not subscription.reader.is_admin:
                room.end(subscription, "forbidden")


def _role(room: _Room, event: Event) -> None:
    member = _member(event)
    for subscription in room.told_of(event):
        was_member = subscription.role is not None
        subscription.role = member["role"]
        if not was_member:
            room.hub.came(subscription)


def _member(event: Event) -> dict[str, Any]:
    member = event.data["member"]
    return member if isinstance(member, dict) else {"subject": member.subject, "role": member.role}


_ENDING: dict[str, Callable[[_Room, Event], None]] = {
    "member.removed": _removed,
    "member.left": _left,
    "member.joined": _role,
    "member.role_changed": _role,
    "room.updated": _updated,
}
