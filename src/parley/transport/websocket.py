"""One upgraded socket: frames in, whole messages out, and the closing handshake of RFC 6455.

Knows nothing of HTTP (`upgrade`), of how bytes become frames (`frame_parser`), of what messages mean (`connection`),
of timers (`timers`), or of the kernel (`tcp`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, cast

from parley.transport import tcp
from parley.transport.frame_parser import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameListener,
    FrameParser,
    Kind,
)
from parley.transport.frames import frame_close, frame_pong, is_sendable, is_utf8
from parley.transport.sockets import Receiver

log = logging.getLogger(__name__)

# How long a peer has to answer our CLOSE; also how long we listen, without reading what it says, after we gave it up.
CLOSE_TIMEOUT_S = 2.0
# Above this many unsent bytes a PING goes unanswered: who does not read would otherwise fill our memory with PONGs.
PONG_UNSENT_BYTES_MAX = 65_536
# picows' buffer grows with the largest frame and never shrinks: after a frame of this size it gets a new one.
FRAME_BYTES_KEPT_MAX = 32_768
UNSENT_HIGH_BYTES = 262_144
# What stands for a limit that is off: as much as one frame is read of.
_NO_LIMIT = 2**31 - 1

# OPEN; CLOSING: our CLOSE went first, the peer's is awaited; ENDED: nothing is read any more; GONE: no descriptor.
_OPEN, _CLOSING, _ENDED, _GONE = 0, 1, 2, 3


class WebSocket(FrameListener):
    """One upgraded socket; made by `open_websocket`.

    `write`             the transport's own `write`, for prebuilt frames. It raises RuntimeError on a transport that
                        is gone: a fan-out calls each writer in a `try`.
    `last_heard_s`      the clock at the last whole frame; see `silent_s`
    `peer_closed_code`  the code of the peer's CLOSE, 1005 where it gave none, None where none came
    `close_deadline_s`  when a closing socket will be reset, None while it is open
    """

    __slots__ = (
        "_call_at",
        "_clock",
        "_deadline",
        "_free_bytes",
        "_members",
        "_message_bytes_max",
        "_parts",
        "_parts_kind",
        "_receiver",
        "_state",
        "_transport",
        "close_deadline_s",
        "last_heard_s",
        "peer_closed_code",
        "write",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        receiver: Receiver["WebSocket"],
        message_bytes_max: int,
        *,
        members: set[Any],
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._transport = transport
        self._receiver: Receiver[WebSocket] | None = receiver
        self._message_bytes_max = message_bytes_max or _NO_LIMIT
        self._members = members
        self._clock = clock
        self._call_at = call_at
        self._state = _OPEN
        self._parts: bytearray | None = None  # of a message in fragments, as far as it has come
        self._parts_kind = TEXT
        self._free_bytes = 0
        self._deadline: Any = None
        self.write: Callable[[bytes], None] = transport.write
        self.last_heard_s = clock()
        self.close_deadline_s: float | None = None
        self.peer_closed_code: int | None = None

    # --- for the connection above ---

    @property
    def is_polled(self) -> bool:
        return False

    @property
    def unpolled_bytes(self) -> int:
        return 0

    @property
    def is_open(self) -> bool:
        """Whether messages still come and may be written: no CLOSE has gone either way."""
        return self._state == _OPEN

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def silent_s(self, now_s: float) -> float:
        """Seconds since the peer was last seen to send anything, the bytes of an unfinished frame included.

        Those are noticed by comparing with the previous call, so they count as heard when this is called. Where
        reading is paused nobody can say that the peer is silent: it counts as heard just now.
        """
        parser = self._transport.get_protocol()
        if not self._transport.is_reading():
            self.last_heard_s = now_s
        elif isinstance(parser, FrameParser):
            free = parser.free_bytes
            if free != self._free_bytes:
                self._free_bytes = free
                self.last_heard_s = now_s
        return now_s - self.last_heard_s

    def hand_to(self, receiver: Receiver["WebSocket"]) -> None:
        """Let another receiver have what follows; it is not told `opened`."""
        if self._receiver is not None:
            self._receiver = receiver

    def set_unsent_high_bytes(self, high: int) -> None:
        """Above `high` unsent bytes the receiver's `writing_paused` is called."""
        if self._state != _GONE:
            self._transport.set_write_buffer_limits(high=high)

    def limit_unsent(self, high: int) -> None:
        """As `set_unsent_high_bytes`, and let the kernel hold no more than that unsent either: what is new matters."""
        if self._state != _GONE:
            tcp.limit_unsent(self._transport, high)

    def pause_reading(self) -> None:
        """Read no more; messages that are already in the buffer (at most one read's worth) still come."""
        if self._state == _OPEN:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def close(self, code: int, reason: str = "") -> None:
        """Send CLOSE and wait for the peer's until `close_deadline_s`; then reset. No effect on one that is closing."""
        if self._state != _OPEN:
            return
        self._state = _CLOSING
        self._parts = None
        self._send(frame_close(code, reason))
        self._transport.resume_reading()
        self._arm()

    def abort(self) -> None:
        """Reset the connection at once (RST): neither we nor the kernel keep what is unsent."""
        if self._state != _GONE:
            self._state = _ENDED
            tcp.reset(self._transport)

    def shutdown(self) -> None:
        """uvicorn's graceful stop: the receiver says how its connection ends."""
        if self._state == _OPEN and self._receiver is not None:
            self._tell(self._receiver.drain)

    # --- frames, from picows ---

    def on_ws_frame(self, _: object, frame: Frame) -> None:
        """One frame. The first branch is the whole path of nearly all of them."""
        if (
            frame.msg_type is TEXT
            and frame.fin
            and self._parts is None
            and self._state == _OPEN
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            self.last_heard_s = self._clock()
            data = frame.get_payload_as_bytes()
            if data.isascii() or is_utf8(data):
                try:
                    self._receiver.text(data)  # type: ignore[union-attr]
                except Exception:
                    self._receiver_failed()
            else:
                self._fail(1007, "text that is not UTF-8")
            if len(data) > FRAME_BYTES_KEPT_MAX:
                self._renew_parser(frame)
        else:
            self._uncommon_frame(frame)
            self._renew_parser(frame)

    def _uncommon_frame(self, frame: Frame) -> None:
        if self._state >= _ENDED:
            return None
        self.last_heard_s = self._clock()
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            return self._fail(1002, "reserved bits without an extension")
        if kind is CLOSE:
            return self._peer_closed(frame.get_payload_as_bytes())
        if self._state == _CLOSING:
            return None  # we are waiting for the peer's CLOSE alone
        if kind is PONG:
            return None  # that it was heard of is all that matters
        if kind is PING:
            if self._transport.get_write_buffer_size() <= PONG_UNSENT_BYTES_MAX:
                self._send(frame_pong(frame.get_payload_as_bytes()))
            return None
        receiver = self._receiver
        assert receiver is not None
        try:
            if (kind is CONTINUATION) != (self._parts is not None):
                self._fail(1002, "continuation of nothing" if kind is CONTINUATION else "a message within another")
            elif frame.fin and kind is BINARY:
                receiver.binary(frame.get_payload_as_bytes())
            else:
                self._fragment(kind, frame, receiver)
        except Exception:
            self._receiver_failed()

    def _fragment(self, kind: Kind, frame: Frame, receiver: Receiver["WebSocket"]) -> None:
        if self._parts is None:
            self._parts, self._parts_kind = bytearray(), kind
        if len(self._parts) + frame.payload_size > self._message_bytes_max:
            return self._fail(1009, "message too big")
        self._parts += frame.get_payload_as_bytes()
        if not frame.fin:
            return None
        data, self._parts = bytes(self._parts), None
        if self._parts_kind is BINARY:
            receiver.binary(data)
        elif data.isascii() or is_utf8(data):
            receiver.text(data)
        else:
            self._fail(1007, "text that is not UTF-8")
        return None

    def _peer_closed(self, payload: bytes) -> None:
        """The peer's CLOSE: answer it if it is the first, and let go (RFC 6455 §5.5.1)."""
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        if payload and not is_sendable(code):  # one byte alone is no code either
            return self._fail(1002, "invalid close code")
        if not is_utf8(payload[2:]):
            return self._fail(1007, "a close reason that is not UTF-8")
        self.peer_closed_code = code
        if self._state == _OPEN:
            self._send(frame_close(code))
        self._state = _ENDED
        return self._hang_up(is_answered=True)

    def _fail(self, code: int, reason: str) -> None:
        """End it for a fault: CLOSE, where none has gone, and hang up (RFC 6455 §7.1.7)."""
        if self._state >= _ENDED:
            return
        was_open, self._state, self._parts = self._state == _OPEN, _ENDED, None
        if was_open:
            self._send(frame_close(code, reason))
        self._hang_up(is_answered=False)

    def _hang_up(self, *, is_answered: bool) -> None:
        """Send no more, and give the peer until the deadline to hang up; `is_answered`: both CLOSE frames have gone."""
        tcp.hang_up(self._transport, self.connection_lost, is_answered=is_answered)
        self._lose()
        self._arm()

    def _tell(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception:
            self._receiver_failed()

    def _receiver_failed(self) -> None:
        log.exception("a connection failed and is closed with 1011")
        self._fail(1011, "internal")

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # gone, and `lost` is on its way
            self.write(data)

    def _arm(self) -> None:
        if self._deadline is None:
            self.close_deadline_s = self._clock() + CLOSE_TIMEOUT_S
            self._deadline = self._call_at(self.close_deadline_s, self.abort)

    def _lose(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            try:
                receiver.lost()
            except Exception:
                log.exception("a connection failed while it was let go")

    # --- from the transport, by way of its protocol ---

    def eof_received(self) -> None:
        """The peer sends no more: the transport flushes what is unsent and closes, or is reset at the deadline."""
        if self._state < _ENDED:
            self._state = _ENDED
            self._lose()
            self._arm()

    def connection_lost(self) -> None:
        self._state = _GONE
        self._parts = None
        self._members.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._lose()

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._tell(self._receiver.writing_paused)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._tell(self._receiver.writing_resumed)

    # --- its parser ---

    def _renew_parser(self, frame: Frame) -> None:
        """Give back the buffer of a large frame, unless the next frame has begun behind it."""
        if frame.payload_size > FRAME_BYTES_KEPT_MAX and frame.last_in_buffer and not frame.tail_size:
            transport = self._transport
            if self._state < _ENDED and not transport.is_closing():
                transport.set_protocol(FrameParser(self, self._message_bytes_max))

    def broken(self, code: int, reason: str) -> None:
        # The frame before it comes only after this returns: stop reading, and fail once that has been dealt with.
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._fail, code, reason)


def open_websocket(
    transport: asyncio.Transport,
    receiver: Receiver["WebSocket"],
    message_bytes_max: int,
    *,
    members: set[Any],
    clock: Callable[[], float],
    call_at: Callable[[float, Callable[[], None]], Any],
    early: bytes = b"",
) -> WebSocket:
    """Make `transport`, on which the 101 has been written, a WebSocket, and tell the receiver.

    A `message_bytes_max` of 0 is no limit.
    `members` is uvicorn's set of connections: the socket is in it for as long as the transport lives.
    `early` is what came in one segment with the upgrade request.
    """
    ws = WebSocket(transport, receiver, message_bytes_max, members=members, clock=clock, call_at=call_at)
    members.add(ws)
    transport.set_write_buffer_limits(high=UNSENT_HIGH_BYTES)
    parser = FrameParser(ws, ws._message_bytes_max)
    ws._free_bytes = parser.free_bytes
    transport.set_protocol(parser)
    transport.resume_reading()  # it waited for the decision, perhaps
    try:
        receiver.opened(ws)
    except Exception:
        ws._receiver_failed()
    while early and ws._state < _ENDED:
        frames = cast("Any", transport.get_protocol())  # another one behind a large frame
        room = len(frames.get_buffer(-1))
        frames.data_received(early[:room])
        early = early[room:]
    return ws
