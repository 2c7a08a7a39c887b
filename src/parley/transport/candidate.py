"""The WebSocket that an Engine.IO session may go over to, from its upgrade request until the session takes it or not.

What a probe and an upgrade mean to the session is `engineio.py`'s.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from parley.dialects import engineio
from parley.transport.frames import frame_text
from parley.transport.websocket import WebSocket

#: How long a WebSocket may be the candidate of an upgrade.
UPGRADE_TIMEOUT_S: Final = 10.0

_PROBED: Final = frame_text(engineio.PROBED)


class Waiting(Protocol):
    """The session that it is a candidate of."""

    def probed(self) -> None: ...
    def upgrade(self) -> None: ...
    def lost_candidate(self, candidate: "Candidate", /) -> None: ...


class Candidate:
    """The `sockets.Receiver` of that WebSocket. `call_later` is a timer wheel's, with seconds from now."""

    __slots__ = ("_session", "_timer", "_ws")

    def __init__(self, session: Waiting, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
        self._session: Waiting | None = session
        self._ws: WebSocket | None = None
        self._timer: Any = call_later(UPGRADE_TIMEOUT_S, self.lost)

    def opened(self, ws: WebSocket) -> None:
        if self._session is None:
            ws.close(1000)
        self._ws = ws

    def text(self, data: bytes) -> None:
        session = self._session
        if session is None:
            return
        if data == engineio.PROBE:
            session.probed()
        elif data == b"5":
            session.upgrade()
        else:
            self.lost()

    def binary(self, _: bytes) -> None:
        self.lost()

    def answer_probe(self) -> None:
        if self._ws is not None:
            self._ws.write(_PROBED)

    def writing_paused(self) -> None: ...
    def writing_resumed(self) -> None: ...

    def drain(self) -> None:
        self.lost()

    def lost(self) -> None:
        if self._session is not None:
            self._session.lost_candidate(self)

    def leave(self) -> WebSocket | None:
        """It is the candidate no more; its WebSocket, where it had one."""
        self._session = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ws, self._ws = self._ws, None
        return ws

    def drop(self) -> None:
        ws = self.leave()
        if ws is not None:
            ws.close(1000)
