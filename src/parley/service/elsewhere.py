"""What only the nodes together know, asked of all of them: how many live connections a session has.

Whoever does not answer in time is left out: the number is news, and nobody's right hangs on it.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from parley.delivery.bus import ALL, Bus, of_node
from parley.domain.sessions import ListedSession

#: How long the others have to answer.
ANSWER_S: Final = 0.5


class _Asked:
    __slots__ = ("missing", "sessions", "then")

    def __init__(self, sessions: Sequence[ListedSession], missing: set[str], then: Callable[[], None]) -> None:
        self.sessions = sessions
        self.missing = missing
        self.then = then


class SessionsElsewhere:
    """`count` is this node's own number for a session's id, `living()` names the other nodes that live."""

    def __init__(
        self,
        bus: Bus,
        count: Callable[[str], int],
        living: Callable[[], Iterable[str]],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._bus = bus
        self._count = count
        self._living = living
        self._call_later = call_later
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        bus.hear("sessions.ask", self._answer)
        bus.hear("sessions.told", self._told)

    def add(self, sessions: Sequence[ListedSession], then: Callable[[], None]) -> None:
        """Add to each what the other nodes have, then call `then`."""
        missing = set(self._living())
        if not missing or not sessions:
            then()
            return
        number = next(self._numbers)
        self._asked[number] = _Asked(sessions, missing, then)
        self._bus.note(ALL, "sessions.ask", [number, [session.id for session in sessions]])
        self._call_later(ANSWER_S, lambda: self._finish(number))

    def _answer(self, node: str, body: Any) -> None:
        number, ids = body
        self._bus.note(of_node(node), "sessions.told", [number, [self._count(session) for session in ids]])

    def _told(self, node: str, body: Any) -> None:
        number, counts = body
        asked = self._asked.get(number)
        if asked is None or node not in asked.missing:
            return
        asked.missing.discard(node)
        for session, count in zip(asked.sessions, counts, strict=True):
            session.connections += count
        if not asked.missing:
            self._finish(number)

    def _finish(self, number: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.then()
