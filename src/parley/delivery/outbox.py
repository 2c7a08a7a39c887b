"""What waits to be written to one socket, and what happens when it is too much.

Frames of one turn of the loop go out in one write, in order. Where the socket does not drain, frames wait here up to a
limit of bytes; beyond it the reader is too slow and is told so by `overflow`. Does not know what a frame says.
"""

from collections.abc import Callable
from typing import Protocol


class Sink(Protocol):
    """The transport under an outbox."""

    write: Callable[[bytes], None]
    """Hands bytes to the socket. May raise once the socket has gone."""

    @property
    def unsent_bytes(self) -> int:
        """What was written and has not left the process yet."""


class Outbox:
    """`put` what the connection is to send; the turn calls `flush`.

    Congested means that the transport said it does not drain: what is put then waits here, in order. `place` marks a
    durable event (its room and `seq`), so that whoever discards the wait can say which was the last one handed over.
    """

    __slots__ = ("_bytes", "_bytes_max", "_overflow", "_sink", "_turn", "_waiting", "congested")

    def __init__(self, sink: Sink, turn: "Turn", bytes_max: int, overflow: Callable[[], None]) -> None:
        self._sink = sink
        self._turn = turn
        self._bytes_max = bytes_max
        self._overflow = overflow
        self._waiting: list[bytes] = []
        self._bytes = 0
        self.congested = False

    def put(self, frame: bytes) -> None:
        """Queue one whole frame. Calls `overflow` where the unsent bytes pass the limit (0: no limit)."""
        if not self._waiting and not self.congested:
            self._turn.mark(self)
        self._waiting.append(frame)
        self._bytes += len(frame)
        if self.congested and self._bytes_max and self._bytes + self._sink.unsent_bytes > self._bytes_max:
            self.discard()
            self._overflow()

    def flush(self) -> None:
        """Write what waits, unless the socket does not drain."""
        waiting = self._waiting
        if not waiting or self.congested:
            return
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        self._waiting = []
        self._bytes = 0
        try:
            self._sink.write(data)
        except (RuntimeError, OSError):
            return  # the peer went; the transport tells its connection so

    def drained(self) -> None:
        """The transport drains again."""
        self.congested = False
        self.flush()

    def discard(self) -> None:
        self._waiting = []
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

    def _run(self) -> None:
        self._before()
        self._scheduled = False
        outboxes, self._outboxes = self._outboxes, []
        rooms, self._rooms = self._rooms, []
        for outbox in outboxes:
            outbox.flush()
        for room in rooms:
            room.flush()
