"""Which connections of this node read which room.

An event comes from the bus, which may lose, repeat and reorder; a room (`room.py`) gives each `seq` once and in order,
and reads from the store what it misses. Each event is encoded once for each encoder, and the same bytes go to every
socket. Who may subscribe is decided elsewhere; what joins a replay to the live events is `catchup.py`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from parley.delivery.outbox import Turn
from parley.delivery.readers import Reader, Subscription
from parley.delivery.room import Joining, Room, concerns
from parley.domain.events import Event, Signal


class Hub:
    """All rooms that somebody on this node reads.

    `read(room, after, done)` reads a page of missing events and calls `done((events, complete) | None)` on the loop.
    `left(subscription)` hears of every subscription that ended, `came(subscription)` of every one that began;
    `opened(room)` and `closed(room)` of every room that begins to be read here, and is no longer.
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
        self.rooms: dict[str, Room] = {}
        self.came: Callable[[Subscription], None] = _nothing
        self.left: Callable[[Subscription], None] = _nothing
        self.opened: Callable[[str], None] = _nothing
        self.closed: Callable[[str], None] = _nothing
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

    def read_missing(self, room: Room) -> None:
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
            room = self.rooms[room_id] = Room(self, room_id)
            self.opened(room_id)
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
        if len(told) < len(missed) or any(concerns(event, reader) for event in told):
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

    def forget_if_idle(self, room: Room) -> None:
        if room.is_idle and self.rooms.get(room.id) is room:
            del self.rooms[room.id]
            self.closed(room.id)


def _nothing(_: Any) -> None:
    return
