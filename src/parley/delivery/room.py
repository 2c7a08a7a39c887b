"""One room on this node: its subscribers in groups of equals, and one event written to all of them.

Gives each `seq` once and in order, and has read what is missing. Which rooms there are is `hub.py`'s.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from parley.delivery.outbox import Turn
from parley.delivery.readers import Encoder, Reader, Subscription
from parley.delivery.writing import SLICE, write_all
from parley.domain.events import Event, Signal

#: Events kept for one subscription on its way; one that would need more reads the log again.
HEARD_MAX: Final = 1000


class Home(Protocol):
    """What a room needs of the hub."""

    clock_s: Callable[[], float]
    turn: Turn
    call_soon: Callable[[Callable[[], None]], object]
    came: Callable[[Subscription], None]
    left: Callable[[Subscription], None]
    deliveries: int

    def read_missing(self, room: "Room") -> None: ...
    def forget_if_idle(self, room: "Room") -> None: ...


class Group:
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

    def __init__(self, room: "Room") -> None:
        self.room = room
        self.heard: dict[int, Event] = {}

    def hear(self, event: Event) -> None:
        self.heard[event.seq] = event
        if len(self.heard) > HEARD_MAX:
            del self.heard[next(iter(self.heard))]


class Room:
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

    def __init__(self, hub: Home, room_id: str) -> None:
        self.hub = hub
        self.id = room_id
        self.seq: int | None = None  # the last event given to the groups; None until a first read told the head
        self.groups: dict[tuple[Encoder, bool], Group] = {}
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

        def encode(group: Group) -> bytes | None:
            shown = privy if group.privy else signal
            return None if shown is None else group.encoder.signal(shown)

        self._queue(encode)

    def _queue(self, encode: Callable[[Group], bytes | None]) -> None:
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
            write_all(writers, data)
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
                write_all(group.writers[:slice_max], data)
                for start in range(slice_max, len(group.writers), slice_max):
                    self.rest.append((group.writers[start : start + slice_max], data, before))
            else:
                write_all(group.writers, data)
            self.flushed_at_s = self.hub.clock_s()
            self.hub.deliveries += len(group.members)
        self.flushed = self.seq or 0
        if self.rest:
            self.hub.call_soon(self._next_slice)

    def _next_slice(self) -> None:
        # As with every flush: a process that was paused between two slices wakes up to them before its timers.
        self.hub.turn.run_due()
        if self.rest:
            writers, data, _ = self.rest.pop(0)
            write_all(writers, data)
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
            group = self.groups[encoder, privy] = Group(encoder, privy=privy)
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


# --- events that end subscriptions, or change what a subscriber is ---------------------------------------------------


def _removed(room: Room, event: Event) -> None:
    gone = room.told_of(event)
    for subscription in gone:
        subscription.role = None
    room.end(gone, "banned" if event.data.get("banned") else "removed")


def _left(room: Room, event: Event) -> None:
    gone = room.told_of(event)
    for subscription in gone:
        subscription.role = None
        room.hub.left(subscription)
    if not room.public:
        room.end([s for s in gone if not s.reader.is_admin], "left")


def _updated(room: Room, event: Event) -> None:
    view = event.data["room"]
    room.public = (view["visibility"] if isinstance(view, dict) else view.visibility) == "public"
    if not room.public:
        strangers = [s for s in room.subscribers.values() if s.role is None and s.live_after < event.seq]
        room.end([s for s in strangers if not s.reader.is_admin], "forbidden")


def _role(room: Room, event: Event) -> None:
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


def concerns(event: Event, reader: Reader) -> bool:
    """Whether an event may have changed what this reader is in the room, or may read there."""
    return event.type == "room.updated" or (event.type in _CHANGING and _subject(event) == reader.subject)


_CHANGING: Final[dict[str, Callable[[Room, Event], None]]] = {
    "member.removed": _removed,
    "member.left": _left,
    "member.joined": _role,
    "member.role_changed": _role,
    "room.updated": _updated,
}
