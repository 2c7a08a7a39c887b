"""The socket that polls make: what an Engine.IO session has written over HTTP, and the requests that it waits for.

Knows no state of the session: when a request may come, what one brings and what ends it is `engineio.py`'s.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from parley.dialects import engineio
from parley.transport.frames import frame_binary, frame_text, messages_in
from parley.transport.websocket import WebSocket

NOOP: Final = b"6"
#: How long a client's close waits for a poll that was sent at the same time, on another connection.
CROSSING_S: Final = 0.05


class OverHttp:
    """A `sockets.Socket` of requests: records of a payload wait, the oldest first.

    `answered` is called for each answer that is made of them. `has_poll` and `has_post`: whether there is a request of
    that kind, answered or not; a second one may not come.
    """

    __slots__ = (
        "_answered",
        "_clock",
        "_crossing",
        "_high_bytes",
        "_is_parked",
        "_poll",
        "_records",
        "_resumed",
        "_sending_bytes",
        "_successor",
        "_waiting_bytes",
        "has_post",
        "is_reading",
        "last_heard_s",
    )

    is_polled: Final = True
    #: None: what waits for a poll was counted while it waited in the outbox, whatever was asked for.
    unsent_bytes: Final = 0

    def __init__(self, clock: Callable[[], float], answered: Callable[[], None]) -> None:
        self._clock = clock
        self._answered = answered
        self._records: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._poll: asyncio.Future[bytes] | None = None
        self._sending_bytes = 0  # of an answer on its way
        self._is_parked = False  # an answer will be made at the end of this turn
        self._crossing: asyncio.Future[None] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._high_bytes: int | None = None
        self._successor: WebSocket | None = None
        self.has_post = False
        self.is_reading = True
        self.last_heard_s = clock()

    # --- a socket, to whoever is above ---

    def write(self, frames: bytes) -> None:
        """Keep them for a poll. A fan-out that began before an upgrade may still come here after it."""
        if self._successor is not None:
            self._successor.write(frames)
            return
        for message, is_binary in messages_in(frames):
            self.add(engineio.binary_record(message) if is_binary else message)
        self.answer_soon()

    @property
    def unpolled_bytes(self) -> int:
        """What waits, and what is on its way."""
        return self._waiting_bytes + self._sending_bytes

    def heard(self) -> None:
        """A request has come."""
        self.last_heard_s = self._clock()

    def silent_s(self, now_s: float) -> float:
        return now_s - self.last_heard_s

    def set_unsent_high_bytes(self, high: int) -> None:
        """Nothing is ever unsent here; the WebSocket that comes after it is told so."""
        self._high_bytes = high

    def pause_reading(self) -> None:
        """Read no more: a POST is answered only once reading goes on."""
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            if not resumed.done():
                resumed.set_result(None)

    def close(self, code: int, reason: str = "") -> None:
        """HTTP knows no close: its next request is refused."""

    def abort(self) -> None:
        """As `close`."""

    # --- what waits ---

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._records)

    def __contains__(self, record: bytes) -> bool:
        return record in self._records

    def add(self, record: bytes) -> None:
        self._records.append(record)
        self._waiting_bytes += len(record)

    def clear(self) -> None:
        self._records.clear()
        self._waiting_bytes = 0

    def go_over_to(self, ws: WebSocket) -> None:
        """Write to this WebSocket from now on, and what waits first; noops are for polls only."""
        self.tell(NOOP)  # there should be none that waits
        self._successor = ws
        records = [record for record in self._records if record != NOOP]
        self.clear()
        for record in records:
            data = engineio.record_bytes(record)
            ws.write(frame_text(record) if data is None else frame_binary(data))
        if self._high_bytes is not None:
            ws.set_unsent_high_bytes(self._high_bytes)
        if not self.is_reading:
            ws.pause_reading()

    # --- requests ---

    @property
    def has_poll(self) -> bool:
        return self._poll is not None

    @property
    def is_awaited(self) -> bool:
        """Whether a poll waits for its answer."""
        return self._poll is not None and not self._poll.done()

    def poll(self) -> asyncio.Future[bytes]:
        """One comes, and waits for its answer."""
        self._poll = asyncio.get_running_loop().create_future()
        if self._crossing is not None and not self._crossing.done():
            self._crossing.set_result(None)
        return self._poll

    def tell(self, record: bytes) -> None:
        """The last word to a poll that waits; nothing where none does."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(record)

    def answer_soon(self) -> None:
        """Answer at the end of the turn: what else is written in it goes along."""
        if not self._is_parked and self.is_awaited:
            self._is_parked = True
            asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        """Give what waits, or as much as an answer may hold, to the poll; nothing where either is missing."""
        self._is_parked = False
        poll, waiting = self._poll, self._records
        if poll is None or poll.done() or not waiting:
            return
        records = [waiting.popleft() for _ in range(min(len(waiting), engineio.ANSWER_PACKETS_MAX))]
        body = engineio.encode_payload(records)
        self._waiting_bytes -= sum(map(len, records))
        self._sending_bytes = len(body)
        poll.set_result(body)
        self._answered()

    def polled(self) -> None:
        """The answer has left."""
        self._poll = None
        self._sending_bytes = 0

    async def cross(self) -> None:
        """Let a poll come that is on its way: it is answered with a noop, and not refused."""
        if self._poll is None:
            crossing = self._crossing = asyncio.get_running_loop().create_future()
            await asyncio.wait((crossing,), timeout=CROSSING_S)
            self._crossing = None

    async def until_read_on(self) -> None:
        if not self.is_reading:
            resumed = self._resumed = asyncio.get_running_loop().create_future()
            await resumed
