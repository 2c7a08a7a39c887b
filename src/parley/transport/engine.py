"""The Engine.IO sessions of one path, by `sid`. What one does is `engineio.py`'s, who may open one `handshake`'s."""

from collections.abc import Callable
from typing import Any

from parley.transport.engineio import Peer, Session


class Engine:
    """`clock` and `call_at` are a timer wheel's."""

    def __init__(
        self,
        *,
        ping_interval_s: float,
        ping_timeout_s: float,
        payload_bytes_max: int,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], Any],
        new_sid: Callable[[], str],
    ) -> None:
        self.ping_interval_s = ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self.payload_bytes_max = payload_bytes_max
        self.clock = clock
        self.call_at = call_at
        self.new_sid = new_sid
        self.sessions: dict[str, Session] = {}

    def session(self, peer: Peer) -> Session:
        """A new one; `open_polling` begins it, or the WebSocket whose receiver it becomes."""
        return Session(self, self.new_sid(), peer)

    def find(self, sid: str) -> Session | None:
        """The session of a `sid`; what is due to it by now takes effect first."""
        session = self.sessions.get(sid)
        if session is not None:
            session.look_at_time()
        return self.sessions.get(sid)

    @property
    def has_farewells(self) -> bool:
        """Whether the last words of a session still wait for its next poll."""
        return any(not session.is_open for session in self.sessions.values())

    def drain(self) -> None:
        """The server stops: each session that is polled ends in its peer's own words. A WebSocket is told by itself."""
        for session in list(self.sessions.values()):
            if session.is_polled:
                session.drain()
