"""The order of one connection's commands: they take effect in the order sent.

Writes follow each other into the store without waiting, where the store keeps their order (one room, or one writing
thread for all); a read waits for the writes before it, and a write for the reads. Knows nothing of what they do.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

#: Begins an operation; it calls what it is given once it is over.
Begin = Callable[[Callable[[], None]], None]

_Waiting = tuple[bool, str | None, bool, Begin]

#: Reads of one connection at the same time: enough to keep the store busy, few enough for the answers to be held.
READING_MAX: Final = 8


class Ordering:
    """One connection's line of commands. `lanes` says that the store has one writer for each room, not one for all."""

    __slots__ = (
        "_advancing",
        "_alone",
        "_held",
        "_lane",
        "_lanes",
        "_line",
        "_reading",
        "_reading_lanes",
        "_writing",
        "under_way",
    )

    def __init__(self, *, lanes: bool) -> None:
        self._lanes = lanes
        # A deque of its own only while something waits: an empty one weighs 760 bytes, and nearly all are idle.
        self._line: deque[_Waiting] | tuple[()] = ()
        self._writing = 0
        self._reading = 0
        self._lane: str | None = None
        self._reading_lanes: set[str] = set()
        self._alone = False
        self._held = False
        self._advancing = False
        #: What has begun or waits, and is not over.
        self.under_way = 0

    def run(self, begin: Begin, *, writes: bool, lane: str | None = None, alone: bool = False) -> None:
        """Begin at once where the order allows it, else when its turn comes.

        `lane` of a write is the room that it is about; reads of one lane do not overtake each other either. What is
        `alone` waits for all before it, and all behind wait for it.
        """
        self.under_way += 1
        if self._line or not self._may(writes, lane, alone):
            if not self._line:
                self._line = deque()
            self._line.append((writes, lane, alone, begin))
        else:
            self._begin(writes, lane, alone, begin)

    def hold(self) -> None:
        """Begin nothing until `release`: the answers could not be handed over."""
        self._held = True

    def release(self) -> None:
        self._held = False
        self._advance()

    def abandon(self) -> None:
        """The connection is over: what has not begun never will."""
        self.under_way -= len(self._line)
        self._line = ()

    def _may(self, writes: bool, lane: str | None, alone: bool) -> bool:
        if self._held or self._alone:
            return False
        if alone:
            return not self._writing and not self._reading
        if not writes:
            return not self._writing and self._reading < READING_MAX and lane not in self._reading_lanes
        if self._reading:
            return False
        return not self._writing or not self._lanes or (lane is not None and lane == self._lane)

    def _begin(self, writes: bool, lane: str | None, alone: bool, begin: Begin) -> None:
        self._alone = alone
        if writes:
            self._writing += 1
            self._lane = lane
            begin(self._wrote)
        elif lane is None:
            self._reading += 1
            begin(self._has_read)
        else:
            self._reading += 1
            self._reading_lanes.add(lane)
            begin(partial(self._has_read, lane))

    def _wrote(self) -> None:
        self._writing -= 1
        self.under_way -= 1
        self._alone = False
        self._advance()

    def _has_read(self, lane: str | None = None) -> None:
        self._reading -= 1
        self.under_way -= 1
        self._alone = False
        if lane is not None:
            self._reading_lanes.discard(lane)
        self._advance()

    def _advance(self) -> None:
        # What is over at once comes back here from within its own beginning: the loop below goes on with the next.
        if self._advancing or not self._line:
            return
        self._advancing = True
        try:
            while self._line and self._may(*self._line[0][:3]):
                self._begin(*self._line.popleft())
        finally:
            self._advancing = False
            if not self._line:
                self._line = ()
