"""The frames that come in: picows, which splits the bytes into them, and how it is held. Nothing else imports it.

It is used as a parser and for nothing else. It is given a transport that leads nowhere, because it would otherwise
answer errors by itself, ahead of the messages that came before the error; and it is given one fixed request to pass
its own handshake, because ours has been decided by then. What it finds wrong it says to its logger, which is therefore
the listener itself: `error` below is where a broken frame arrives. What frames mean is `websocket`'s.
"""

import logging
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import Any, Final, cast

from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]

log = logging.getLogger(__name__)

READ_BUFFER_BYTES: Final = 2_048

Frame = WSFrame
Kind = WSMsgType
TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
PING, PONG, CLOSE = WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE


class FrameListener(WSListener, ABC):
    """Who is given the frames of one socket. For picows it is the logger too."""

    __slots__ = ()

    @abstractmethod
    def on_ws_frame(self, _: WSTransport, frame: Frame) -> None:
        """One whole frame, unmasked, in order."""

    @abstractmethod
    def broken(self, code: int, reason: str) -> None:
        """A frame breaks RFC 6455, or is over the limit: end the socket with `code`.

        picows looks one frame ahead: the frame before the broken one is handed over only after this returns.
        """

    @abstractmethod
    def eof_received(self) -> None:
        """The peer sends no more: the transport flushes what is unsent and closes."""

    @abstractmethod
    def connection_lost(self) -> None:
        """The transport is over."""

    # --- as picows' logger ---

    def isEnabledFor(self, _level: int) -> bool:
        return False

    def info(self, *_: object) -> None:
        """What picows says of connections it thinks it opened and closed."""

    debug = log = warning = info

    def error(self, _message: str, args: tuple[int, str]) -> None:
        code, reason = int(args[0]), args[1]
        self.broken(code, "message too big" if code == 1009 else reason)

    def exception(self, message: str, *_: object) -> None:
        """A fault of picows itself, or of its listener."""
        log.exception("picows: %s", message)
        self.broken(1011, "internal")


class FrameParser(WSProtocol):  # type: ignore[misc]
    """The protocol of the real transport: what comes in is handed to `listener`, frame by frame."""

    __slots__ = ()

    def __init__(self, listener: FrameListener, frame_bytes_max: int) -> None:
        super().__init__(
            None,
            None,
            False,  # server side: demand masks
            lambda request: _pass_handshake(request, listener),
            listener,  # as its logger
            True,
            None,  # no handshake timeout
            False,  # no pings of its own: `connection` sends them
            1,
            1,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # PONGs are ours
            frame_bytes_max,
            None,
            READ_BUFFER_BYTES,
        )
        super().connection_made(_NOWHERE)
        self.data_received(b"GET / HTTP/1.1\r\n\r\n")

    @property
    def free_bytes(self) -> int:
        """Room in the buffer at hand: it changes with every byte that comes."""
        return len(self.get_buffer(-1))

    def data_received(self, data: bytes) -> None:
        """Only what fits the buffer at hand. It must have this name: uvloop holds on to the `data_received` of the
        protocol before, and all that hangs on it, where the next one has none.
        """
        size = len(data)
        self.get_buffer(-1)[:size] = data
        self.buffer_updated(size)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.listener.connection_lost()

    def eof_received(self) -> bool:
        self.listener.eof_received()
        return False  # the transport closes itself


class _Nowhere:
    """The transport and the socket that picows believes to have."""

    def get_extra_info(self, name: str) -> Any:
        return self if name in ("socket", "ssl_object") else None  # "TLS": it never calls send(2) itself then

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: object) -> None:
        pass

    def getsockopt(self, *_: object) -> int:
        return 0

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, _data: object) -> None:
        pass

    close = abort = writelines = setsockopt


class _Switching:
    """The 101 that picows believes to send."""

    status = HTTPStatus.SWITCHING_PROTOCOLS

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def to_bytes(self) -> bytearray:
        return bytearray()


_NOWHERE = _Nowhere()
_SWITCHING = _Switching()
_HEADERS = {
    "upgrade": "websocket",
    "connection": "upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def _pass_handshake(request: Any, listener: FrameListener) -> WSUpgradeResponseWithListener:
    request.headers = _HEADERS
    return WSUpgradeResponseWithListener(cast("Any", _SWITCHING), listener)
