"""What is asked of the kernel for one TCP connection: to hold little unsent, to hang up gently, to reset.

Knows nothing of what goes over it; how long a peer is waited for is its caller's.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final

_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s


def limit_unsent(transport: asyncio.Transport, high: int) -> None:
    """Above `high` unsent bytes the transport pauses its writer; the kernel, too, takes little more than it can send.

    Otherwise a listener that stalls would later be given minutes of the past, which the kernel has kept for it.
    """
    transport.set_write_buffer_limits(high=high)
    with contextlib.suppress(OSError, AttributeError):  # a transport without a socket, or one of another family
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, high)


def hang_up(transport: asyncio.Transport, lost: Callable[[], None], *, is_answered: bool) -> None:
    """Send no more, and listen without reading until the peer hangs up; `lost` is called when the transport is over.

    Closing at once, with bytes of the peer still unread, would make the kernel send a reset, and the peer might never
    see why it was closed (RFC 6455 §7.1.1). TLS knows no half-closed stream: there we close at once where both sides
    have said their last word (`is_answered`). Else the caller resets it at a deadline.
    """
    if transport.is_closing():
        return
    if transport.can_write_eof():
        transport.write_eof()
    elif is_answered:
        transport.close()
    if not transport.is_closing():
        transport.set_protocol(_Deaf(lost))
        transport.resume_reading()


def reset(transport: asyncio.Transport) -> None:
    """End it at once (RST): neither we nor the kernel keep what is unsent. Not for a transport whose socket is closed:
    its descriptor's number may be another connection's by now.
    """
    with contextlib.suppress(OSError):  # the peer's reset came first
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class _Deaf(asyncio.Protocol):
    """Listens to a socket that is over, without reading, until the peer hangs up."""

    __slots__ = ("_lost",)

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
