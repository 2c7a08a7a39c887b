"""The order of one connection's commands: they take effect in the order sent.

Writes follow each other into the store without waiting, where the store keeps their order (one room, or one writing
thread for all); a read waits for the writes before it, and a write for the reads. Knows nothing of what they do.
"""

from collections import deque
from collections.abc import Callable

#: Begins an operation; it calls what it is given once it is over.
Begin = Callable[[Callable[[], None]], None]


class Ordering:
    """One connection's line of commands. `lanes` says that the store has one writer for each room, not one for all."""

    __slots__ = ("_lane", "_lanes", "_line", "_reading", "_writing")

    def __init__(self, *, lanes: bool) -> None:
        self._lanes = lanes
        self._line: deque[tuple[bool, str | None, Begin]] = deque()
        self._writing = 0
        self._reading = 0
        self._lane: str | None = None

    def run(self, begin: Begin, *, writes: bool, lane: str | None = None) -> None:
        """Begin at once where the order allows it, else when its turn comes. `lane` is the room that a write is about."""
        if self._line or not self._may(writes, lane):
            self._line.append((writes, lane, begin))
        else:
            self._begin(begin, writes, lane)

    @property
    def under_way(self) -> int:
        return self._writing + self._reading + len(self._line)

    def abandon(self) -> None:
        """The connection is over: what has not begun never will."""
        self._line.clear()

    def _may(self, writes: bool, lane: str | None) -> bool:
        if not writes:
            return not self._writing
        if self._reading:
            return False
        return not self._writing or not self._lanes or (lane is not None and lane == self._lane)

    def _begin(self, begin: Begin, writes: bool, lane: str | None) -> None:
        if writes:
            self._writing += 1
            self._lane = lane
            begin(self._wrote)
        else:
            self._reading += 1
            begin(self._has_read)

    def _wrote(self) -> None:
        self._writing -= 1
        self._advance()

    def _has_read(self) -> None:
        self._reading -= 1
        self._advance()

    def _advance(self) -> None:
        while self._line and self._may(self._line[0][0], self._line[0][1]):
            writes, lane, begin = self._line.popleft()
            self._begin(begin, writes, lane)
