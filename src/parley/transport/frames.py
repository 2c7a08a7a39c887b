"""The frames that a server sends, and what RFC 6455 says of close codes and text.

Final, unmasked, without extensions (§5.2). Frames that come in are `websocket`'s.
"""

from collections.abc import Iterator


def _header(first: int, size: int) -> bytes:
    """`first` is the first byte: fin and opcode."""
    if size < 126:
        return bytes((first, size))
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")


def _frame(first: int, payload: bytes) -> bytes:
    return _header(first, len(payload)) + payload


def text_header(size: int) -> bytes:
    """What stands before a text message of `size` bytes."""
    return _header(0x81, size)


def frame_text(payload: bytes) -> bytes:
    """A whole text message; `payload` must be UTF-8."""
    return _frame(0x81, payload)


def frame_binary(payload: bytes) -> bytes:
    return _frame(0x82, payload)


def chunk(data: bytes) -> bytes:
    """A chunk of HTTP/1.1 (RFC 9112 §7.1): what a frame is to those who listen without a socket."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame_ping(payload: bytes = b"") -> bytes:
    """`payload`: at most 125 bytes (RFC 6455 §5.5)."""
    assert len(payload) <= 125, "a control frame holds at most 125 bytes"
    return _frame(0x89, payload)


def frame_pong(payload: bytes) -> bytes:
    """The answer to a PING, with its payload."""
    return _frame(0x8A, payload)


def frame_close(code: int, reason: str = "") -> bytes:
    """A CLOSE; a reason too long for one is cut to 123 bytes of whole characters (RFC 6455 §5.5.1).

    1005, the code for "none was given", makes an empty payload: it may not be put on the wire (§7.4.1).
    """
    if code == 1005:
        return _frame(0x88, b"")
    assert is_sendable(code), f"{code} must not be sent"
    data = reason.encode()
    if len(data) > 123:
        data = data[:123].decode("utf-8", "ignore").encode()
    return _frame(0x88, code.to_bytes(2, "big") + data)


def messages_in(frames: bytes) -> Iterator[tuple[bytes, bool]]:
    """The messages in whole frames of our own, and whether each is binary; control frames are left out."""
    at, end = 0, len(frames)
    while at < end:
        opcode, size = frames[at] & 0x0F, frames[at + 1]
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(frames[at : at + width], "big")
            at += width
        if opcode in (1, 2):
            yield frames[at : at + size], opcode == 2
        at += size


def is_sendable(code: int) -> bool:
    """Whether a close code may stand in a CLOSE (RFC 6455 §7.4 and IANA's registry)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
