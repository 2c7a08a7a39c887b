"""Engine.IO 4 without its I/O: packets, payloads, and what a session may do next.

Moves no bytes and keeps no time: `transport/engineio.py` walks the table. Source: the Engine.IO protocol, version 4
(https://github.com/socketio/socket.io/blob/main/docs/engine.io-protocol/v4-current.md).

**Packets.** A packet is one digit and its text: `0` open, `1` close, `2` ping, `3` pong, `4` message, `5` upgrade,
`6` noop. On a WebSocket each packet is a text message, and a binary message is a message packet without the digit.
Over HTTP packets are joined to a payload, with U+001E between them; a binary one is `b` and its bytes in base64.

**A session** begins by a request without a `sid`, over HTTP or on a WebSocket, and is told its `sid`, the times and
the largest payload. The server pings, the client answers each ping in time; else the session is over.

**Polling.** The server speaks in the answer to a GET, which waits until there is something to say; the client speaks in
a POST, which is answered `ok`. There is one of each at a time: a second one is refused and ends the session, for the
order of packets would be lost. So does one that the client cancels, for nobody knows what it has read.

**Upgrade.** The client opens a WebSocket beside its polls, with its `sid`, and sends `2probe` there. The server answers
`3probe` and from then on leaves no poll waiting, so that the client can come to rest. Then the client sends `5`: what
has not been polled goes out on the socket, before anything new, and HTTP is over for this session. A candidate that
says anything else, goes, or takes too long is dropped, and the session polls on.

**Closing.** A client's `1` ends the session; a poll that waits is answered with a noop. The server closes a WebSocket,
or lets the client poll what is left, and refuses the next poll: a client that is told `1` takes it for a farewell
(Python's stays away; npm's acts on it before it has read what came with it). `1` is for who broke the protocol.
`TRANSITIONS` below has all of it.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from parley.dialects.dialect import Ended

PROTOCOL: Final = "4"
SEPARATOR: Final = b"\x1e"
#: Packets in one payload of a client. One that was away sends all it has kept at once, within the payload's bytes.
PAYLOAD_PACKETS_MAX: Final = 4096
#: Packets in one payload of ours: Python's client refuses more.
ANSWER_PACKETS_MAX: Final = 16

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = range(7)
PROBE: Final = b"2probe"
PROBED: Final = b"3probe"

_ZERO: Final = ord("0")


class Packet(NamedTuple):
    """`data` is the text without its digit, UTF-8; or the bytes of a binary message."""

    kind: int
    data: bytes
    is_binary: bool = False


def broken() -> Ended:
    """What ends a session that breaks the protocol."""
    return Ended(4400, "bad_request")


def decode(text: bytes) -> Packet:
    """One packet of a WebSocket's text message. Raises: Ended where it is none."""
    kind = text[0] - _ZERO if text else -1
    if not OPEN <= kind <= NOOP:
        raise broken()
    return Packet(kind, text[1:])


def decode_payload(body: bytes, packets_max: int = PAYLOAD_PACKETS_MAX) -> list[Packet]:
    """The packets of a POST's body, in order. Raises: Ended; nothing of a broken payload is to be used."""
    if body.count(SEPARATOR) >= packets_max:
        raise broken()
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise broken() from None
    return [_decode_record(record) for record in body.split(SEPARATOR)]


def _decode_record(record: bytes) -> Packet:
    if record[:1] != b"b":
        return decode(record)
    try:
        return Packet(MESSAGE, a2b_base64(record[1:], strict_mode=True), True)
    except Base64Error:
        raise broken() from None


def binary_record(data: bytes) -> bytes:
    """A binary message as a payload has it."""
    return b"b" + b2a_base64(data, newline=False)


def record_bytes(record: bytes) -> bytes | None:
    """The bytes of a record of our own that is a binary message, None for any other."""
    return a2b_base64(record[1:]) if record[:1] == b"b" else None


def encode_payload(records: Iterable[bytes]) -> bytes:
    return SEPARATOR.join(records)


def open_packet(
    sid: str, *, upgrades: Sequence[str], ping_interval_s: float, ping_timeout_s: float, payload_bytes_max: int
) -> bytes:
    """The first packet of a session."""
    told: dict[str, Any] = {
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": round(ping_interval_s * 1000),
        "pingTimeout": round(ping_timeout_s * 1000),
        "maxPayload": payload_bytes_max,
    }
    return b"0" + msgspec.json.encode(told)


# --- the session's table ----------------------------------------------------------------------------------------------


class State(Enum):
    """Where a session is: by which transport it lives, and whether it is on its way to another."""

    POLLING = "polling"
    PROBING = "probing"
    PROBED = "probed"
    WEBSOCKET = "websocket"
    CLOSING = "closing"
    OVER = "over"


class Input(Enum):
    """What may happen to a session."""

    POLL = "a GET"
    SECOND_POLL = "a GET while one waits"
    POST = "a POST"
    SECOND_POST = "a POST while one is read"
    LOST_REQUEST = "a GET or POST is cancelled"
    SOCKET = "a WebSocket with its sid"
    PROBE = "`2probe` there"
    UPGRADE = "`5` there"
    LOST_CANDIDATE = "anything else there, it goes, or it takes too long"
    LOST_SOCKET = "its WebSocket goes"
    CLOSE = "a close packet"
    BROKEN = "what is no packet, or none for a server"
    SILENT = "no pong in time"
    LEAVE = "the server closes it"
    LATE = "what is left was not polled in time"


class Effect(Enum):
    """What is to be done about it."""

    WAIT = "the GET waits until there is something to say"
    ANSWER = "the GET is answered at once, with a noop where there is nothing"
    READ = "its packets are read, in order, and answered `ok`"
    TRY = "it becomes the candidate"
    PROBE = "`3probe`; a GET that waits is answered with a noop"
    SWITCH = "what was not polled goes out there, and all that follows"
    DROP = "the candidate is closed"
    NOOP = "a GET that waits is answered with a noop; the socket is closed"
    END = "a GET that waits is told `1`; the socket is closed"
    FAREWELL = "what is left waits for a GET; where nothing is, one that waits is answered with a noop"
    IGNORE = "answered `ok`, unread"
    REFUSE = "400, or the newcomer is closed; the session goes on"
    REFUSE_AND_END = "400; a GET that waits is told `1`"
    FORGET = "nothing"


_ENDINGS: Final[Mapping[Input, tuple[State, Effect]]] = {
    Input.CLOSE: (State.OVER, Effect.NOOP),
    Input.BROKEN: (State.OVER, Effect.END),
    Input.SILENT: (State.OVER, Effect.NOOP),
}
_OVER_HTTP: Final[Mapping[Input, tuple[State, Effect]]] = {
    Input.SECOND_POLL: (State.OVER, Effect.REFUSE_AND_END),
    Input.SECOND_POST: (State.OVER, Effect.REFUSE_AND_END),
    Input.LOST_REQUEST: (State.OVER, Effect.END),
    Input.LEAVE: (State.CLOSING, Effect.FAREWELL),
    **_ENDINGS,
}
#: What follows from what; whatever a state does not list is refused and changes nothing.
TRANSITIONS: Final[Mapping[State, Mapping[Input, tuple[State, Effect]]]] = {
    State.POLLING: {
        Input.POLL: (State.POLLING, Effect.WAIT),
        Input.POST: (State.POLLING, Effect.READ),
        Input.SOCKET: (State.PROBING, Effect.TRY),
        **_OVER_HTTP,
    },
    State.PROBING: {
        Input.POLL: (State.PROBING, Effect.WAIT),
        Input.POST: (State.PROBING, Effect.READ),
        Input.PROBE: (State.PROBED, Effect.PROBE),
        Input.UPGRADE: (State.POLLING, Effect.DROP),
        Input.LOST_CANDIDATE: (State.POLLING, Effect.DROP),
        **_OVER_HTTP,
    },
    State.PROBED: {
        Input.POLL: (State.PROBED, Effect.ANSWER),
        Input.POST: (State.PROBED, Effect.READ),
        Input.PROBE: (State.POLLING, Effect.DROP),
        Input.UPGRADE: (State.WEBSOCKET, Effect.SWITCH),
        Input.LOST_CANDIDATE: (State.POLLING, Effect.DROP),
        **_OVER_HTTP,
    },
    State.WEBSOCKET: {
        Input.LOST_SOCKET: (State.OVER, Effect.FORGET),
        Input.LEAVE: (State.OVER, Effect.END),
        **_ENDINGS,
    },
    State.CLOSING: {
        Input.POLL: (State.CLOSING, Effect.ANSWER),
        Input.POST: (State.CLOSING, Effect.IGNORE),
        Input.SECOND_POLL: (State.OVER, Effect.REFUSE_AND_END),
        Input.SECOND_POST: (State.OVER, Effect.REFUSE_AND_END),
        Input.LOST_REQUEST: (State.OVER, Effect.FORGET),
        Input.LATE: (State.OVER, Effect.FORGET),
    },
    State.OVER: {},
}


#: What a WebSocket is closed with where the session ends by itself: a code and a reason.
CLOSED_WITH: Final[Mapping[Input, tuple[int, str]]] = {
    Input.CLOSE: (1000, ""),
    Input.SILENT: (1001, "ping timeout"),
    Input.BROKEN: (4400, "bad_request"),
    Input.SECOND_POLL: (4400, "bad_request"),
    Input.SECOND_POST: (4400, "bad_request"),
    Input.LOST_REQUEST: (4400, "bad_request"),
}


def step(state: State, what: Input) -> tuple[State, Effect]:
    """The state that follows, and what is to be done."""
    return TRANSITIONS[state].get(what, (state, Effect.REFUSE))
