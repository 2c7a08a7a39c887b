"""Engine.IO sessions: one life over HTTP polls, a WebSocket, or from the one to the other.

Walks the table of `dialects/engineio.py`. To whoever is above it a session is a socket like any other (`write`,
`close`, …), and it stands on one that changes: polls (`over_http.py`), then perhaps a WebSocket, whose receiver it is.
The requests themselves are `polling.py`'s, the pings `heartbeat.py`'s; what messages mean is the peer's.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from parley.dialects import engineio
from parley.dialects.dialect import Ended
from parley.dialects.engineio import Effect, Input, Packet, State
from parley.domain.errors import Refusal
from parley.transport.candidate import Candidate
from parley.transport.frames import frame_text
from parley.transport.heartbeat import Heartbeat, Pace
from parley.transport.over_http import NOOP, OverHttp
from parley.transport.sockets import Receiver
from parley.transport.websocket import WebSocket

log = logging.getLogger(__name__)

#: How long a closing session waits for the poll that takes what is left.
FAREWELL_S: Final = 5.0

_PING: Final = frame_text(b"2")


class Peer(Receiver["Session"], Protocol):
    """Who is above a session."""

    def rewired(self) -> None:
        """`write` is another one: the session has gone over to a WebSocket."""


class Host(Pace, Protocol):
    """The engine that a session belongs to."""

    payload_bytes_max: int
    #: Those that live, by `sid`.
    sessions: "dict[str, Session]"


class Session:
    """One session. A `sockets.Receiver` of the WebSocket it lives on."""

    __slots__ = (
        "_candidate",
        "_engine",
        "_farewell_timer",
        "_heartbeat",
        "_http",
        "_on",
        "_peer",
        "sid",
        "state",
        "write",
    )

    def __init__(self, engine: Host, sid: str, peer: Peer) -> None:
        self._engine = engine
        self._peer: Peer | None = peer
        self.sid = sid
        self.state = State.POLLING
        self._http = OverHttp(engine.clock, self.writing_paused)
        self._on: OverHttp | WebSocket = self._http
        self.write: Callable[[bytes], None] = self._http.write
        self._candidate: Candidate | None = None
        self._heartbeat = Heartbeat(self, engine)
        self._farewell_timer: Any = None

    # --- its beginning ---

    def open_polling(self) -> bytes:
        """Begin it over HTTP; the answer to the request."""
        self._begin()
        peer = self._peer
        assert peer is not None
        peer.opened(self)
        if self._peer is not None:
            peer.writing_paused()
        return self._open_packet(["websocket"])

    def opened(self, ws: WebSocket) -> None:
        self.state = State.WEBSOCKET
        self._stand_on(ws)
        self._begin()
        ws.write(frame_text(self._open_packet([])))
        assert self._peer is not None
        self._peer.opened(self)

    def _stand_on(self, ws: WebSocket) -> None:
        self._on = ws
        self.write = ws.write

    def _begin(self) -> None:
        self._engine.sessions[self.sid] = self
        self._heartbeat.begin()

    def _open_packet(self, upgrades: list[str]) -> bytes:
        engine = self._engine
        return engineio.open_packet(
            self.sid,
            upgrades=upgrades,
            ping_interval_s=engine.ping_interval_s,
            ping_timeout_s=engine.ping_timeout_s,
            payload_bytes_max=engine.payload_bytes_max,
        )

    # --- a socket, to whoever is above ---

    @property
    def is_polled(self) -> bool:
        """Whether it lives over HTTP: nothing leaves before it is asked for."""
        return self._on.is_polled

    @property
    def is_open(self) -> bool:
        return self.state not in (State.CLOSING, State.OVER)

    @property
    def unsent_bytes(self) -> int:
        return self._on.unsent_bytes

    @property
    def unpolled_bytes(self) -> int:
        return self._on.unpolled_bytes

    @property
    def last_heard_s(self) -> float:
        return self._on.last_heard_s

    def silent_s(self, now_s: float) -> float:
        return self._on.silent_s(now_s)

    def set_unsent_high_bytes(self, high: int) -> None:
        self._on.set_unsent_high_bytes(high)

    @property
    def is_reading(self) -> bool:
        return self._http.is_reading

    def pause_reading(self) -> None:
        self._http.pause_reading()
        self._on.pause_reading()

    def resume_reading(self) -> None:
        self._http.resume_reading()  # a POST may wait for it still, whatever is under the session by now
        self._on.resume_reading()

    def close(self, code: int, reason: str = "") -> None:
        """End it, once what was written is out. The WebSocket is closed with the code; HTTP knows none."""
        self._take(Input.LEAVE, (code, reason))

    def abort(self) -> None:
        """Drop it at once."""
        self._forget()
        self._on.abort()

    # --- its pings (heartbeat.Pinged) ---

    def ping(self) -> bool:
        try:
            self.write(_PING)
        except RuntimeError:
            return False
        return True

    def fell_silent(self) -> None:
        self._take(Input.SILENT)

    def look_at_time(self) -> None:
        """Let take effect what is due to it by now, before its timer tells."""
        self._heartbeat.look_at_time()

    # --- what a WebSocket brings (sockets.Receiver) ---

    def text(self, data: bytes) -> None:
        if data[:1] == b"4" and self._peer is not None:
            self._peer.text(data[1:])
        else:
            self._packet_or_end(data)

    def binary(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.binary(data)

    def writing_paused(self) -> None:
        if self._peer is not None:
            self._peer.writing_paused()

    def writing_resumed(self) -> None:
        if self._peer is not None:
            self._peer.writing_resumed()

    def drain(self) -> None:
        if self._peer is not None:
            self._peer.drain()

    def lost(self) -> None:
        self._take(Input.LOST_SOCKET)
        self._lose()

    def _packet_or_end(self, data: bytes) -> None:
        try:
            self._packet(engineio.decode(data))
        except Ended:
            self._take(Input.BROKEN)

    def _packet(self, packet: Packet) -> None:
        """Raises: Ended for one that a server never gets."""
        peer = self._peer
        if packet.kind == engineio.MESSAGE and peer is not None:
            if packet.is_binary:
                peer.binary(packet.data)
            else:
                peer.text(packet.data)
        elif packet.kind == engineio.PONG:
            if b"2" not in self._http:  # else it answers a ping that it has not got
                self._heartbeat.ponged()
        elif packet.kind == engineio.CLOSE:
            self._take(Input.CLOSE)
        elif packet.kind not in (engineio.NOOP, engineio.MESSAGE):
            raise engineio.broken()

    # --- what HTTP brings (polling) ---

    def poll(self) -> asyncio.Future[bytes]:
        """A GET: what it is answered, once that is there. Raises: Refusal where there may be none."""
        http = self._http
        http.heard()
        effect = self._take(Input.SECOND_POLL if http.has_poll else Input.POLL)
        if effect not in (Effect.WAIT, Effect.ANSWER):
            raise _refused(effect)
        poll = http.poll()
        if http:
            http.answer()
        elif self.state is not State.CLOSING and self._peer is not None:
            self._peer.writing_resumed()
            if effect is Effect.ANSWER and not http and not poll.done():
                http.add(NOOP)
                http.answer_soon()
        return poll

    def polled(self) -> None:
        """The answer has left."""
        self._http.polled()
        if self.state is State.CLOSING and not self._http:
            self._forget()

    def post(self) -> bool:
        """A POST begins; whether its packets are to be read. Raises: Refusal where there may be none."""
        self._http.heard()
        effect = self._take(Input.SECOND_POST if self._http.has_post else Input.POST)
        if effect not in (Effect.READ, Effect.IGNORE):
            raise _refused(effect)
        self._http.has_post = True
        return effect is Effect.READ

    async def receive(self, body: bytes) -> None:
        """The body of a POST; returns once more may come. Raises: Refusal where it is no payload."""
        try:
            for packet in engineio.decode_payload(body):
                if not self.is_open:
                    break  # what is behind a close is not read
                if packet.kind == engineio.CLOSE:
                    await self._http.cross()
                self._packet(packet)
        except Ended:
            self._take(Input.BROKEN)
            raise Refusal("invalid_request", "This is no payload of Engine.IO.") from None
        except Exception:
            log.exception("a connection failed and is ended")
            self._take(Input.BROKEN)
            raise
        if self.is_open:
            await self._http.until_read_on()

    def posted(self) -> None:
        """The POST is answered."""
        self._http.has_post = False

    def lost_request(self) -> None:
        """A GET or a POST was cancelled, or its body refused."""
        self._take(Input.LOST_REQUEST)

    # --- the upgrade ---

    def candidate(self) -> "Candidate | None":
        """The receiver for a WebSocket that came with this `sid`; None where none may come."""
        if self._take(Input.SOCKET) is not Effect.TRY:
            return None
        engine = self._engine
        candidate = self._candidate = Candidate(self, lambda in_s, then: engine.call_at(engine.clock() + in_s, then))
        return candidate

    def probed(self) -> None:
        self._take(Input.PROBE)

    def upgrade(self) -> None:
        self._take(Input.UPGRADE)

    def lost_candidate(self, candidate: "Candidate") -> None:
        if self._candidate is candidate:
            self._take(Input.LOST_CANDIDATE)

    def _switch(self) -> None:
        candidate, self._candidate = self._candidate, None
        assert candidate is not None
        ws = candidate.leave()
        assert ws is not None
        self._stand_on(ws)
        ws.hand_to(self)
        self._http.go_over_to(ws)
        if self._peer is not None:
            self._peer.rewired()
            self._peer.writing_resumed()

    # --- the table, walked ---

    def _take(self, what: Input, closed_with: tuple[int, str] | None = None) -> Effect:
        """Carry out what follows from what happened. `closed_with`: what the server closes it with, where it does."""
        before = self.state
        self.state, effect = engineio.step(before, what)
        match effect:
            case Effect.PROBE:
                assert self._candidate is not None
                self._candidate.answer_probe()
                if self._http.is_awaited:
                    if not self._http:
                        self._http.add(NOOP)
                    self._http.answer_soon()
            case Effect.SWITCH:
                self._switch()
            case Effect.DROP:
                self._drop_candidate()
            case Effect.NOOP:
                self._http.tell(NOOP)
                self._end(*(closed_with or engineio.CLOSED_WITH[what]))
            case Effect.END | Effect.REFUSE_AND_END:
                self._http.tell(b"1")
                self._end(*(closed_with or engineio.CLOSED_WITH[what]))
            case Effect.FAREWELL:
                self._farewell()
            case Effect.FORGET:
                self._forget()
            case _:
                pass
        return effect

    def _end(self, code: int, reason: str) -> None:
        self._forget()
        self._on.close(code, reason)

    def _farewell(self) -> None:
        self._drop_candidate()
        self._heartbeat.stop()
        if not self._http:
            self._http.tell(NOOP)
            self._forget()
            return
        self._farewell_timer = self._engine.call_at(self._engine.clock() + FAREWELL_S, self._late)
        self._http.answer()
        self.resume_reading()
        self._lose()

    def _late(self) -> None:
        self._farewell_timer = None
        self._take(Input.LATE)

    def _forget(self) -> None:
        self.state = State.OVER
        self._engine.sessions.pop(self.sid, None)
        self._heartbeat.stop()
        if self._farewell_timer is not None:
            self._farewell_timer.cancel()
            self._farewell_timer = None
        self._drop_candidate()
        self._http.clear()
        self._http.tell(NOOP)
        self.write = _nowhere
        self.resume_reading()
        self._lose()

    def _lose(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            try:
                peer.lost()
            except Exception:
                log.exception("a connection failed while it was let go")

    def _drop_candidate(self) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            candidate.drop()

    def __repr__(self) -> str:
        # Never the `sid`, which is all that a request of this session needs.
        return f"<Session {self.state.value}, {self.unpolled_bytes} bytes unpolled>"


def _nowhere(_: bytes) -> None:
    """`write` of a session that is over."""


def _refused(effect: Effect) -> Refusal:
    if effect is Effect.REFUSE_AND_END:
        return Refusal("invalid_request", "One GET and one POST at a time.")
    return Refusal("invalid_request", "The session takes no more requests.")
