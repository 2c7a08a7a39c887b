"""What waits to be written to one socket, and what happens when it is too much.

Frames of one turn of the loop go out in one write, in order. Where the socket does not drain, frames wait here up to a
limit of bytes; beyond it the reader is too slow and is told so by `overflow`. Does not know what a frame says.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

log = logging.getLogger(__name__)

#: An answer of more than this (a page, a replay) is not held against its reader. No event is as large.
SMALL_BYTES: Final = 65_536


class Place(Protocol):
    """Where a reader is in a room's log: a subscription."""

    told: int
    """The last `seq` that was handed over."""


class Sink(Protocol):
    """The transport under an outbox."""

    write: Callable[[bytes], None]
    """Hands bytes to the socket. May raise once the socket has gone."""

    @property
    def unsent_bytes(self) -> int:
        """What was written and has not left the process yet."""


class Outbox:
    """`put` what the connection is to send; the turn calls `flush`.

    Congested means that the transport said it does not drain: what is put then waits here, in order. Events are put
    with their place, so that `withhold` can take them back and say which was the last one handed over.
    """

    __slots__ = (
        "_asked",
        "_bytes",
        "_bytes_max",
        "_events",
        "_overflow",
        "_page_under_way",
        "_pages",
        "_sink",
        "_turn",
        "_waiting",
        "congested",
    )

    def __init__(self, sink: Sink, turn: "Turn", bytes_max: int, overflow: Callable[[], None]) -> None:
        self._sink = sink
        self._turn = turn
        self._bytes_max = bytes_max
        self._overflow = overflow
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._asked = 0  # bytes of large answers that may be unsent still
        self._events: list[tuple[int, Place, int]] = []  # index of a frame that waits, whose it is, the seq before it
        self._pages: deque[Callable[[], None]] | None = None  # those who wait to read on
        self._page_under_way = False
        self.congested = False

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def put(self, frame: bytes) -> None:
        """Queue one whole frame. Calls `overflow` where the unsent bytes pass the limit (0: no limit)."""
        if not self._waiting and not self.congested:
            self._turn.mark(self)
        self._waiting.append(frame)
        self._bytes += len(frame)
        if self.congested and self._bytes_max and self._bytes + self._sink.unsent_bytes > self._bytes_max + self._asked:
            self.discard()
            self._overflow()

    def put_answer(self, frame: bytes) -> None:
        """Queue an answer. A large one was asked for: its bytes are not counted until the socket has drained.

        So a reader that comes back to much is not too slow for it. Whoever answers must not begin another large one
        while the outbox is congested.
        """
        if len(frame) > SMALL_BYTES:
            self._asked += len(frame)
        self.put(frame)

    def put_events(self, frames: bytes, place: Place, before: int, *, asked: bool = False) -> None:
        """Queue events of one room; `before` is the `seq` that the reader had been told before them.

        `asked`: a page of what it missed, which as a large answer is not held against its reader.
        """
        if asked:
            self._asked += len(frames)
        self._events.append((len(self._waiting), place, before))
        self.put(frames)

    def withhold(self) -> None:
        """Take back the events that wait, and note in each place what was handed over; answers stay."""
        if not self._events:
            return
        taken = set()
        for index, place, before in self._events:
            taken.add(index)
            place.told = min(place.told, before)
        self._waiting = [frame for index, frame in enumerate(self._waiting) if index not in taken]
        self._bytes = sum(map(len, self._waiting))
        self._events = []

    def next_page(self, read: Callable[[], None]) -> None:
        """Call `read` once the socket drains and no other page is under way: whoever reads ends with `page_read`.

        So a reader that missed much in many rooms gets one page after the other, at the pace of its socket.
        """
        if self._pages is None:
            self._pages = deque()
        self._pages.append(read)
        self._read_on()

    def page_read(self) -> None:
        self._page_under_way = False
        self._read_on()

    def _read_on(self) -> None:
        if self._pages and not self._page_under_way and not self.congested:
            self._page_under_way = True
            self._pages.popleft()()

    def flush(self) -> None:
        """Write what waits, unless the socket does not drain."""
        waiting = self._waiting
        if not waiting or self.congested:
            return
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        self._waiting = []
        self._bytes = 0
        if self._events:
            self._events = []
        try:
            self._sink.write(data)
        except (RuntimeError, OSError):
            return  # the peer went; the transport tells its connection so
        if not self.congested:
            self._asked = 0

    def drained(self) -> None:
        """The transport drains again."""
        self.congested = False
        self._asked = min(self._asked, self._bytes)
        self.flush()
        self._read_on()

    def discard(self) -> None:
        self._waiting = []
        self._events = []
        self._pages = None
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Outbox {len(self._waiting)} frames, {self._bytes} bytes{', congested' if self.congested else ''}>"


class Flushable(Protocol):
    def flush(self) -> None: ...


class Turn:
    """One turn of the event loop: outboxes and rooms with something to write are flushed together at its end.

    Outboxes go first: an answer to `room.subscribe` must precede the events that follow it. `call_soon` is the loop's;
    `before` runs ahead of every flush and is where what has come due (an expiry, a revocation) takes effect first.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], before: Callable[[], None]) -> None:
        self._call_soon = call_soon
        self._before = before
        self._outboxes: list[Flushable] = []
        self._rooms: list[Flushable] = []
        self._scheduled = False

    def mark(self, outbox: Flushable) -> None:
        self._outboxes.append(outbox)
        self._schedule()

    def mark_room(self, room: Flushable) -> None:
        self._rooms.append(room)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._run)

    def flush_outboxes(self) -> None:
        """Flush the outboxes now, for a room that cannot wait for the end of the turn. What is due comes first."""
        self.run_due()
        outboxes, self._outboxes = self._outboxes, []
        _flush_all(outboxes)

    def _run(self) -> None:
        self.run_due()
        self._scheduled = False
        outboxes, self._outboxes = self._outboxes, []
        rooms, self._rooms = self._rooms, []
        _flush_all(outboxes)
        _flush_all(rooms)

    def run_due(self) -> None:
        """Let what has come due take effect: before anything is handed to a socket."""
        try:
            self._before()
        except Exception:
            log.exception("what had come due failed")


def _flush_all(flushables: Sequence[Flushable]) -> None:
    for flushable in flushables:
        try:
            flushable.flush()
        except Exception:  # one reader's bug is not the others'
            log.exception("what waited could not be flushed")
