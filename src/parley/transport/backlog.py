"""What an Engine.IO session has written and nobody has asked for yet, and the poll that takes it.

Knows no state of the session: when a poll may come, and what ends it, is `engineio.py`'s.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from parley.dialects import engineio

NOOP = b"6"


class Backlog:
    """Records of a payload, oldest first. `answered` is called for each answer that is made of them."""

    __slots__ = ("_answered", "_is_parked", "_poll", "_records", "_sending_bytes", "_waiting_bytes")

    def __init__(self, answered: Callable[[], None]) -> None:
        self._answered = answered
        self._records: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._poll: asyncio.Future[bytes] | None = None
        self._sending_bytes = 0  # of an answer on its way
        self._is_parked = False  # an answer will be made at the end of this turn

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._records)

    def __contains__(self, record: bytes) -> bool:
        return record in self._records

    @property
    def unpolled_bytes(self) -> int:
        """What waits, and what is on its way."""
        return self._waiting_bytes + self._sending_bytes

    @property
    def has_poll(self) -> bool:
        """Whether there is a poll, answered or not: a second one may not come."""
        return self._poll is not None

    @property
    def is_awaited(self) -> bool:
        """Whether a poll waits for its answer."""
        return self._poll is not None and not self._poll.done()

    def add(self, record: bytes) -> None:
        self._records.append(record)
        self._waiting_bytes += len(record)

    def clear(self) -> None:
        self._records.clear()
        self._waiting_bytes = 0

    def take_all(self) -> Iterator[bytes]:
        """What waits, for another way out; noops are for polls only."""
        while self._records:
            record = self._records.popleft()
            if record != NOOP:
                yield record
        self._waiting_bytes = 0

    def await_with(self, poll: asyncio.Future[bytes]) -> None:
        self._poll = poll

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
