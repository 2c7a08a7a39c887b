"""RESP3, the protocol of Redis and Valkey, as far as the bus needs it: commands out, values in.

Bytes and values only: no socket, no meaning. redis-py awaits each part of a value; this reads all there is at once.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from typing import Any, Final

from redis.exceptions import InvalidResponse, ResponseError

_AGGREGATES: Final = {b"*": 1, b"~": 1, b">": 1, b"%": 2}


class Push(list[Any]):
    """What the server says by itself: it answers no command."""


class _Short(Exception):
    """The value ends in bytes that have not come yet."""


def packed(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


class Values:
    """Whole values out of bytes that come in pieces of any size."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Any]:
        """What is whole by now; a refusal is a ResponseError among them, what the server pushes a Push.

        Raises: InvalidResponse, for what is not RESP.
        """
        data = self._rest + data
        found, at = [], 0
        try:
            while at < len(data):
                value, at = _value(data, at)
                found.append(value)
        except _Short:
            pass
        self._rest = data[at:]
        return found


def _value(data: bytes, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where the next one does. Raises: _Short, InvalidResponse."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _Short
    kind, told, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"$" or kind == b"=" or kind == b"!":
        size = _number(told)
        if size < 0:
            return None, at
        if len(data) < at + size + 2:
            raise _Short
        text = data[at : at + size]
        return _refusal(text) if kind == b"!" else text, at + size + 2
    if kind == b":":
        return _number(told), at
    if (each := _AGGREGATES.get(kind)) is not None:
        items = Push() if kind == b">" else []
        for _ in range(each * _number(told)):
            item, at = _value(data, at)
            items.append(item)
        return items, at
    if kind == b"-":
        return _refusal(told), at
    if kind in (b"+", b",", b"#", b"("):
        return told, at
    if kind == b"_":
        return None, at
    raise InvalidResponse(f"not RESP: a value of kind {kind!r}")


def _number(told: bytes) -> int:
    try:
        return int(told)
    except ValueError:
        raise InvalidResponse(f"not RESP: {told[:40]!r} is no number") from None


def _refusal(text: bytes) -> ResponseError:
    return ResponseError(text.decode("utf-8", "replace"))
