"""The pings of one Engine.IO session, and how the silence of its client is noticed.

The client answers each ping with a pong; an interval after that comes the next. What silence leads to is `engineio`'s.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

#: A ping that goes out this late gives its client the whole time again.
LATE_S: Final = 0.02
#: A timer that is this late was held up by more than a busy loop.
PAUSED_S: Final = 1.0


class Pace(Protocol):
    """How often is pinged, and by which clock. `clock` and `call_at` are a timer wheel's."""

    ping_interval_s: float
    ping_timeout_s: float
    clock: Callable[[], float]
    call_at: Callable[[float, Callable[[], None]], Any]


class Pinged(Protocol):
    """The session."""

    @property
    def is_open(self) -> bool: ...
    @property
    def is_reading(self) -> bool:
        """Whether what comes is read; where it is not, nobody can say that its client is silent."""

    def ping(self) -> bool:
        """Send one; False where the socket has gone."""

    def fell_silent(self) -> None:
        """No pong came in time."""


class Heartbeat:
    """Begins with `begin`, and ends with `stop`."""

    __slots__ = ("_due_at_s", "_is_pinged", "_pace", "_session", "_timer")

    def __init__(self, session: Pinged, pace: Pace) -> None:
        self._session = session
        self._pace = pace
        self._is_pinged = False  # and has not answered
        self._due_at_s = 0.0
        self._timer: Any = None

    def begin(self) -> None:
        """Ping an interval from now."""
        self.stop()
        pace = self._pace
        self._is_pinged = False
        self._due_at_s = pace.clock() + pace.ping_interval_s
        self._timer = pace.call_at(self._due_at_s, self._due)

    def ponged(self) -> None:
        """A pong came; one that nothing asked for counts for nothing."""
        if self._is_pinged:
            self.begin()

    def look_at_time(self) -> None:
        """Let take effect what is due by now, before the timer tells."""
        if self._is_pinged and self._session.is_open and self._pace.clock() >= self._due_at_s:
            self.stop()
            self._due()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        session, pace = self._session, self._pace
        if not session.is_open:
            return
        now_s = pace.clock()
        late_s = now_s - self._due_at_s
        if not self._is_pinged:
            self._is_pinged = True
            if late_s < LATE_S:
                now_s = self._due_at_s  # when it was due, so that a client that counts agrees
            if not session.ping():
                return  # `lost` is on its way
        elif session.is_reading and late_s < PAUSED_S:
            session.fell_silent()
            return
        # Else the wait begins anew: where we do not read, nobody can say that it is silent; and a process that was
        # paused wakes up to its timers before what came meanwhile.
        self._due_at_s = now_s + pace.ping_timeout_s
        self._timer = pace.call_at(self._due_at_s, self._due)
