"""The Socket.IO dialect: its protocol, version 5, on the message packets of Engine.IO 4, in the namespace `/`.

Moves no bytes and keeps no time. Source: the Socket.IO protocol, version 5
(https://github.com/socketio/socket.io/blob/main/docs/socket.io-protocol/v5-current.md).

**Packets.** `type [attachments "-"] [namespace ","] [id] [JSON]`; the namespace `/` is left out. The types are `0`
CONNECT, `1` DISCONNECT, `2` EVENT, `3` ACK, `4` CONNECT_ERROR, `5` BINARY_EVENT and `6` BINARY_ACK. The last two are
followed by as many binary messages as they say, with nothing between, and `{"_placeholder":true,"num":n}` stands where
each belongs. An event's JSON is an array of its name and its arguments, an ack's the array of what it answers.

**A session.** CONNECT comes first and may bring a token, as `{"token": …}`; it is answered by CONNECT with the
connection's id, or by CONNECT_ERROR. Then an event is a command and its one argument the parameters; with an id it is
answered by an ACK of `{result}` or `{error}`. What the server says by itself are events with one argument.

| what came, for            | `/`, before CONNECT | `/`, after it     | another namespace                  |
|---------------------------|---------------------|-------------------|------------------------------------|
| CONNECT                   | signs in            | broken            | CONNECT_ERROR, "Invalid namespace" |
| DISCONNECT                | broken              | ends the session  | broken                             |
| EVENT, BINARY_EVENT       | broken              | a command         | broken                             |
| ACK, BINARY_ACK           | broken              | ignored           | broken                             |
| CONNECT_ERROR, what is no packet, attachments out of place | broken | broken | broken                     |

Broken ends the connection with 4400: a client that writes such a packet cannot be understood from there on. A command
that is only wrong is refused like anywhere else; one that comes with attachments is `invalid_params`, for none takes
any.

What comes in is a message packet's content; what goes out is a whole Engine.IO packet, its `4` included, so that the
hub's frames are final for a WebSocket and its records for a poll.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from parley.dialects.dialect import Ended, Request
from parley.dialects.error_codes import error_data
from parley.dialects.parameters import DEPTH_MAX, bad_string, depth, is_balanced, load, read_params
from parley.domain.commands import COMMANDS
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Event, Signal
from parley.domain.sessions import SessionView

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)
MAIN: Final = b"/"
#: Attachments of one packet; socket.io's own parser takes as many.
ATTACHMENTS_MAX: Final = 10
#: An id of more digits is no number in JavaScript.
ID_DIGITS_MAX: Final = 16
#: What these names mean is the library's own affair, on both sides.
RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)

_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode
_array: Final = msgspec.json.Decoder(list[Raw])
_string: Final = msgspec.json.Decoder(str)
_HEAD: Final = re.compile(rb"([0-6])(?:(?<=[56])([0-9]+)-)?(?:(/[^,]*)(?:,|\Z))?([0-9]*)")
_ROWS: Final = {_encode(name): row for name, row in COMMANDS.items()}
_PLACEHOLDER: Final = "_placeholder"


class Packet(NamedTuple):
    """`args` are an event's name and arguments or an ack's values, each as raw JSON; `auth` is what a CONNECT brings.

    `is_odd`: somewhere in it is a lone surrogate. `is_too_deep`: nesting goes too deep, so that it was not read.
    """

    kind: int
    namespace: bytes = MAIN
    id: bytes = b""
    args: Sequence[Raw | bytes] = ()
    auth: Any = None
    attachments: Sequence[bytes] = ()
    is_odd: bool = False
    is_too_deep: bool = False


def broken() -> Ended:
    return Ended(4400, "bad_request")


def decode(data: bytes) -> tuple[Packet, int]:
    """A packet, and how many attachments follow it; `data` is UTF-8. Raises: Ended where it is none."""
    head = _HEAD.match(data)
    if head is None:
        raise broken()
    kind = data[0] - 48
    counted, namespace, packet_id = head[2], head[3] or MAIN, head[4]
    due = 0
    if kind >= BINARY_EVENT:
        # The length first: Python itself refuses to read a number of thousands of digits.
        if counted is None or len(counted) > 2 or (due := int(counted)) > ATTACHMENTS_MAX:
            raise broken()
        kind = EVENT if kind == BINARY_EVENT else ACK
    if len(packet_id) > ID_DIGITS_MAX:
        raise broken()
    payload = data[head.end() :]
    if kind in (EVENT, ACK):
        if depth(payload) > DEPTH_MAX:
            if not is_balanced(payload):
                raise broken()
            return Packet(kind, namespace, packet_id, is_too_deep=True), due
        args, is_odd = _arguments(payload)
        if kind == EVENT:
            _check_name(args)
        elif not packet_id:
            raise broken()
        return Packet(kind, namespace, packet_id, args, is_odd=is_odd), due
    if packet_id:
        raise broken()
    if not payload:
        return Packet(kind, namespace), 0
    told = _value(payload)
    if kind == DISCONNECT or not (isinstance(told, dict) or (kind == CONNECT_ERROR and isinstance(told, str))):
        raise broken()
    return Packet(kind, namespace, auth=told), 0


def encode(
    kind: int, payload: bytes = b"", *, namespace: bytes = MAIN, packet_id: bytes = b"", attachments: int = 0
) -> bytes:
    """A packet as the content of an Engine.IO message; `attachments` of them follow it as binary messages."""
    counted = b""
    if attachments:
        kind = {EVENT: BINARY_EVENT, ACK: BINARY_ACK}[kind]
        counted = b"%d-" % attachments
    where = b"" if namespace == MAIN else namespace + b","
    return b"%d%b%b%b%b" % (kind, counted, where, packet_id, payload)


def _arguments(payload: bytes) -> tuple[Sequence[Raw | bytes], bool]:
    """The members of an array, and whether there is a lone surrogate in them. Raises: Ended where it is none."""
    try:
        return _array.decode(payload), False
    except msgspec.DecodeError:
        members = _value(payload)
        if not isinstance(members, list):
            raise broken() from None
        return [_dump(member) for member in members], True


def _value(payload: bytes) -> Any:
    try:
        return load(payload)
    except (ValueError, RecursionError):
        raise broken() from None


def _dump(value: Any) -> bytes:
    """JSON of what may hold a lone surrogate, which is written as an escape."""
    return json.dumps(value).encode()


def _check_name(args: Sequence[Raw | bytes]) -> None:
    name = _name_of(args)
    if name is None or name in RESERVED:
        raise broken()


def _name_of(args: Sequence[Raw | bytes]) -> str | None:
    """An event's name; a number is one too, as digits. None where it is neither."""
    if not args:
        return None
    first = bytes(args[0])
    if first in _ROWS:
        return _ROWS[first].name
    if first[:1] == b'"':
        try:
            return _string.decode(first)
        except msgspec.DecodeError:
            return ""  # it holds a lone surrogate: the name of nothing
    return first.decode() if first[:1].isdigit() or first[:1] == b"-" else None


class Assembly:
    """Joins packets and the attachments that follow them; `bytes_max` bounds those of one packet (0: no limit)."""

    __slots__ = ("_attachments", "_bytes", "_bytes_max", "_due", "_packet")

    def __init__(self, bytes_max: int = 0) -> None:
        self._bytes_max = bytes_max
        self._packet: Packet | None = None
        self._due = 0
        self._bytes = 0
        self._attachments: list[bytes] = []

    def text(self, data: bytes) -> Packet | None:
        """A packet that is whole. Raises: Ended, also where an attachment was due."""
        if self._packet is not None:
            raise broken()
        packet, due = decode(data)
        if not due:
            return packet
        self._packet, self._due, self._bytes, self._attachments = packet, due, 0, []
        return None

    def binary(self, data: bytes) -> Packet | None:
        """The packet that this attachment makes whole. Raises: Ended where none was due."""
        packet = self._packet
        if packet is None:
            raise broken()
        self._bytes += len(data)
        if self._bytes_max and self._bytes > self._bytes_max:
            raise broken()
        self._attachments.append(data)
        if len(self._attachments) < self._due:
            return None
        attachments, self._packet, self._attachments = self._attachments, None, []
        return packet._replace(attachments=attachments)


# --- the session ------------------------------------------------------------------------------------------------------


class Stage(Enum):
    APART = "before CONNECT"
    JOINED = "after it"
    LEFT = "after DISCONNECT"


class Step(Enum):
    SIGN_IN = "signs in"
    LEAVE = "ends the session"
    COMMAND = "a command"
    IGNORE = "ignored"


#: The table above, for `/`; whatever is not in it is broken.
STEPS: Final[Mapping[tuple[Stage, int], Step]] = {
    (Stage.APART, CONNECT): Step.SIGN_IN,
    (Stage.JOINED, DISCONNECT): Step.LEAVE,
    (Stage.JOINED, EVENT): Step.COMMAND,
    (Stage.JOINED, ACK): Step.IGNORE,
}
#: Close codes after which the client must not come back by itself, or not with this token: it is told to leave.
_DISCONNECTED_WITH: Final = frozenset({4400, 4401, 4403, 4409})
_SIGN_IN: Final = object()


class _Elsewhere:
    """The id of what asks for a namespace that is not there."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: bytes) -> None:
        self.namespace = namespace


class SocketIo:
    """The codec of one connection: where its session is, and the attachments it waits for."""

    __slots__ = ("_assembly", "_stage")

    name = "socketio"

    def __init__(self, attachment_bytes_max: int = 0) -> None:
        self._assembly = Assembly(attachment_bytes_max)
        self._stage = Stage.APART

    def receive(self, data: bytes) -> list[Request]:
        packet = self._assembly.text(data)
        return [] if packet is None else self._requests(packet)

    def receive_binary(self, data: bytes) -> list[Request]:
        packet = self._assembly.binary(data)
        return [] if packet is None else self._requests(packet)

    def result(self, request: Request, result: Any) -> bytes | None:
        if request.id is _SIGN_IN:
            self._stage = Stage.JOINED
            session: SessionView = result
            return b'40{"sid":%b}' % _encode(session.connection)
        if request.id is None:
            return None
        return b'43%b[{"result":%b}]' % (request.id, _encode(result))

    def refused(self, request: Request, refusal: Refusal) -> bytes | None:
        if request.id is _SIGN_IN:
            if refusal.status == 503:
                return None  # a client that is told no stays away; it comes back by itself where the transport ends
            said = {"message": refusal.code, "data": {"code": refusal.code, "status": refusal.status}}
            return b"44" + _encode(said)
        if isinstance(request.id, _Elsewhere):
            return b"4" + encode(CONNECT_ERROR, b'{"message":"Invalid namespace"}', namespace=request.id.namespace)
        if request.id is None:
            return None
        error = {
            "code": refusal.code,
            "status": refusal.status,
            "message": refusal.message,
            "data": error_data(refusal),
        }
        return b'43%b[{"error":%b}]' % (request.id, _encode(error))

    def event(self, event: Event) -> bytes:
        return b'42["event",%b]' % _encode(event)

    def signal(self, signal: Signal) -> bytes:
        return b'42["signal",%b]' % _encode(signal)

    def notice(self, name: str, body: dict[str, Any]) -> bytes | None:
        return b'42["%b",%b]' % (name.encode(), _encode(body)) if self._stage is Stage.JOINED else None

    def goodbye(self, code: int) -> bytes | None:
        return b"41" if code in _DISCONNECTED_WITH and self._stage is Stage.JOINED else None

    def _requests(self, packet: Packet) -> list[Request]:
        if packet.namespace != MAIN:
            if packet.kind != CONNECT:
                raise broken()
            nowhere = Refusal("not_found", "Invalid namespace")
            return [Request(None, None, nowhere, id=_Elsewhere(packet.namespace), is_aside=True)]
        match STEPS.get((self._stage, packet.kind)):
            case Step.COMMAND:
                return [_command(packet)]
            case Step.SIGN_IN:
                return [Request(None, None, id=_SIGN_IN, greeting=packet.auth or {})]
            case Step.IGNORE:
                return []
            case Step.LEAVE:
                self._stage = Stage.LEFT
                raise Ended(1000, "")
            case None:
                raise broken()


def _command(packet: Packet) -> Request:
    request_id = packet.id or None
    if packet.is_too_deep:
        return Request(
            None, None, Refusal("invalid_request", f"Nesting goes {DEPTH_MAX} levels deep at most."), id=request_id
        )
    method = _name_of(packet.args)
    row = COMMANDS.get(method or "")
    if row is None:
        return Request(None, None, Refusal("unknown_command"), id=request_id, method=method)
    try:
        raw = _one_argument(packet)
        return Request(row, read_params(row.name, raw), id=request_id, method=method)
    except Refusal as bad:
        return Request(row, None, bad, id=request_id, method=method)


def _one_argument(packet: Packet) -> bytes:
    """A command's parameters as JSON. Raises: Refusal."""
    if len(packet.args) > 2:
        raise Refusal("invalid_params", "A command takes one object.", field="params")
    raw = bytes(packet.args[1]) if len(packet.args) == 2 else b"{}"
    if packet.is_odd and (bad := bad_string(load(raw))) is not None:
        raise bad
    if packet.attachments:
        raise invalid_params(_holder(load(raw)), "A command takes no attachment.")
    return raw


def _holder(params: Any) -> str:
    """The parameter that an attachment was put in."""

    def holds(value: Any) -> bool:
        if isinstance(value, dict):
            return _PLACEHOLDER in value or any(map(holds, value.values()))
        return isinstance(value, list) and any(map(holds, value))

    if isinstance(params, dict):
        for name, value in params.items():
            if holds(value):
                return str(name)[:64]
    return "params"
