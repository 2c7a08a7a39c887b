"""A socket and who is above it, as each sees the other, whichever transport is under them.

Sockets are `websocket`'s, and sessions of `engineio`; a receiver is a connection, or what stands between. No code.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

S = TypeVar("S", contravariant=True)


class Socket(Protocol):
    """What a connection stands on: a `WebSocket`, or a session of Engine.IO."""

    write: Callable[[bytes], None]
    """Hands frames over. May raise once the socket has gone."""

    @property
    def is_polled(self) -> bool:
        """Whether nothing leaves before the client asks: then `writing_paused` means no more than "not asked now"."""

    @property
    def unsent_bytes(self) -> int: ...
    @property
    def unpolled_bytes(self) -> int:
        """What was handed over and not asked for yet, where it is polled."""

    @property
    def last_heard_s(self) -> float: ...
    def silent_s(self, now_s: float) -> float: ...
    def set_unsent_high_bytes(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self, code: int, reason: str = "") -> None: ...
    def abort(self) -> None: ...


class Receiver(Protocol[S]):
    """Who gets what a socket receives. All methods are synchronous; an exception in one closes its socket with 1011."""

    def opened(self, ws: S, /) -> None:
        """It stands, and from here `ws.write` may be used. Comes before everything else."""

    def text(self, data: bytes, /) -> None:
        """A whole text message, checked to be UTF-8."""

    def binary(self, data: bytes, /) -> None:
        """A whole binary message."""

    def writing_paused(self) -> None:
        """More is unsent than the socket's high mark; or nobody asks, where it is polled."""

    def writing_resumed(self) -> None:
        """What was unsent has gone down to a quarter of the high mark."""

    def drain(self) -> None:
        """The server stops: end this connection in your own words (`ws.close`)."""

    def lost(self) -> None:
        """The socket is over, however it ended: nothing comes any more and nothing may be written. Called once."""
