"""GraphQL over a WebSocket: the protocol `graphql-transport-ws`, without its I/O.

Source: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md

**A connection** begins with `connection_init`, which may bring a token in its payload; once the bearer is known it is
answered `connection_ack`. A second one ends it with 4429. What asks for something before the answer ends it with 4401;
what is no message of the protocol, or is binary, with 4400.

**An operation** begins with `subscribe`, under an id of the client's; an id that lives ends the connection with 4409. A
query or mutation is answered by one `next`, then `complete`. A subscription tells each event in a `next`, until the
client says `complete`, or the server ends it with `error`: after that nothing of its id follows. An operation of which
nothing could be carried out is answered `error` alone. An id is free again once its operation has ended.

**`ping`** is answered `pong`, at any time and by both sides.

    | came              | before `connection_init` | before `connection_ack` | after it                     |
    |-------------------|--------------------------|-------------------------|------------------------------|
    | `connection_init` | signs in                 | 4429                    | 4429                         |
    | `subscribe`       | 4401                     | 4401                    | begins; 4409 for a living id |
    | `complete`        | nothing                  | nothing                 | ends a living operation      |
    | `ping`            | `pong`                   | `pong`                  | `pong`                       |
    | `pong`            | nothing                  | nothing                 | nothing                      |
    | anything else     | 4400                     | 4400                    | 4400                         |

Expiry, revocation and renewal are the connection's; which code each has here is `closed_with`.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from parley.dialects.dialect import Ended, Request
from parley.dialects.graphql_documents import Documents, Refused, error_of
from parley.dialects.graphql_operations import Operation, asked_in, prepare
from parley.dialects.parameters import bad_string, load
from parley.domain.errors import Refusal, invalid_params

ID_CHARS_MAX: Final = 128
#: The name of the news of a session -> the `type` of a SessionNotice.
NOTICES: Final[Mapping[str, str]] = {
    "session.expiring": "expiring",
    "session.changed": "changed",
    "session.closing": "closing",
}

_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode


class Violation(Ended):
    """The protocol was broken, with a code of its own; every other dialect would say `bad_request`."""

    def __init__(self, own_code: int, own_reason: str) -> None:
        super().__init__(4400, "bad_request")
        self.own_code = own_code
        self.own_reason = own_reason


def closed_with(code: int, reason: str) -> tuple[int, str]:
    """The close code here of what the native dialect closes with `code`: the client knows its own, and acts on them.

    npm's `graphql-ws` never comes back after 4401, and comes back after 4403.
    """
    match code:
        case 4401 if reason == "ambiguous_credentials":
            return 4400, reason
        case 4401:
            return (4403 if reason == "token_expired" else 4401), reason
        case 4403:
            return 4401, reason
        case 4408:
            return 4408, "Connection initialisation timeout"
        case 4429:
            return 1013, reason
        case 1003:
            return 4400, "Invalid message"
    return code, reason


class Stage(Enum):
    APART = "before `connection_init`"
    ASKED = "before `connection_ack`"
    JOINED = "after it"


class Step(Enum):
    SIGN_IN = "signs in"
    BEGIN = "begins an operation"
    END = "ends an operation"
    PONG = "is answered"
    IGNORE = "nothing"
    TOO_MANY = "ends it with 4429"
    UNAUTHORIZED = "ends it with 4401"


#: The table above; whatever is not in it is broken.
STEPS: Final[Mapping[tuple[Stage, str], Step]] = {
    (Stage.APART, "connection_init"): Step.SIGN_IN,
    (Stage.APART, "subscribe"): Step.UNAUTHORIZED,
    (Stage.APART, "complete"): Step.IGNORE,
    (Stage.APART, "ping"): Step.PONG,
    (Stage.APART, "pong"): Step.IGNORE,
    (Stage.ASKED, "connection_init"): Step.TOO_MANY,
    (Stage.ASKED, "subscribe"): Step.UNAUTHORIZED,
    (Stage.ASKED, "complete"): Step.IGNORE,
    (Stage.ASKED, "ping"): Step.PONG,
    (Stage.ASKED, "pong"): Step.IGNORE,
    (Stage.JOINED, "connection_init"): Step.TOO_MANY,
    (Stage.JOINED, "subscribe"): Step.BEGIN,
    (Stage.JOINED, "complete"): Step.END,
    (Stage.JOINED, "ping"): Step.PONG,
    (Stage.JOINED, "pong"): Step.IGNORE,
}


class _Message(Struct):
    type: str
    id: str | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET


_message: Final = msgspec.json.Decoder(_Message)
_object: Final = msgspec.json.Decoder(dict[str, Any] | None)


class Living:
    """An operation under its id, until it ends. `errors` are there where nothing of it is carried out.

    `left` counts the calls that are not over; `outcomes` has what the others came to.
    """

    __slots__ = ("errors", "has_ended", "id", "left", "operation", "outcomes")

    def __init__(self, id: str, operation: Operation | None, errors: Sequence[dict[str, Any]] = ()) -> None:
        self.id = id
        self.operation = operation
        self.errors = errors
        self.left = len(operation.calls) if operation is not None else 0
        self.outcomes: list[Any] = [None] * self.left
        self.has_ended = False

    @property
    def is_subscription(self) -> bool:
        return self.operation is not None and self.operation.kind == "subscription"

    @property
    def next_head(self) -> bytes:
        """How each `next` of it begins; the payload and a closing brace follow."""
        return b'{"id":%b,"type":"next","payload":' % _encode(self.id)


class GraphqlTransportWs:
    """The codec of one connection: how far it has come, and the operations that live on it.

    What asks for something comes out as requests: one for each call of an operation, with the operation in `batch` and
    the call's place in `id`; one with `method` "complete" for an operation that the client has ended, and one without
    either for an operation that needs no call. A `ping` is aside.
    """

    __slots__ = ("_documents", "_living", "_stage")

    name = "graphql"

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._stage = Stage.APART
        self._living: dict[str, Living] = {}

    def receive(self, data: bytes) -> list[Request]:
        try:
            message = _message.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._odd(data)
        match STEPS.get((self._stage, message.type)):
            case Step.SIGN_IN:
                self._stage = Stage.ASKED
                return [Request(None, None, greeting=_greeting(message.payload))]
            case Step.BEGIN:
                return self._begin(_id_of(message), b"null" if message.payload is UNSET else bytes(message.payload))
            case Step.END:
                living = self._living.get(_id_of(message))
                return [] if living is None else [Request(None, None, batch=living, method="complete")]
            case Step.PONG:
                return [Request(None, None, is_aside=True)]
            case Step.IGNORE:
                return []
            case Step.TOO_MANY:
                raise Violation(4429, "Too many initialisation requests")
            case Step.UNAUTHORIZED:
                raise Violation(4401, "Unauthorized")
            case None:
                raise _invalid()

    def receive_binary(self, data: bytes) -> list[Request]:
        raise _invalid()

    def result(self, request: Request, result: Any) -> bytes | None:
        if request.greeting is not None:
            self._stage = Stage.JOINED
            return b'{"type":"connection_ack"}'
        return self._over(request, result)

    def refused(self, request: Request, refusal: Refusal) -> bytes | None:
        if request.is_aside:
            return b'{"type":"pong"}'
        living: Living | None = request.batch
        if living is None:
            return None
        if living.is_subscription:
            assert living.operation is not None
            (call,) = living.operation.calls
            return self.error(living, [error_of(refusal, locations=[call.where], path=[call.key])])
        return self._over(request, refusal)

    def notice(self, name: str, body: dict[str, Any]) -> bytes | None:
        """A `ping`; what else there is to tell of a session is told to the operations that asked (`session_notice`)."""
        return b'{"type":"ping"}' if name == "ping" and self._stage is Stage.JOINED else None

    def goodbye(self, code: int) -> bytes | None:
        return None

    # --- operations ---

    def complete(self, living: Living) -> bytes | None:
        """The end of an operation that was answered; None where it has ended already, or is not answered yet."""
        if living.left or living.has_ended or living.is_subscription:
            return None
        self.forget(living)
        return b'{"id":%b,"type":"complete"}' % _encode(living.id)

    def error(self, living: Living, errors: Sequence[dict[str, Any]]) -> bytes | None:
        """The end of an operation, with these errors; None where it has ended already."""
        if living.has_ended:
            return None
        self.forget(living)
        return b'{"id":%b,"type":"error","payload":%b}' % (_encode(living.id), _encode(errors))

    def forget(self, living: Living) -> None:
        """It has ended: its id is free, and nothing more is told of it."""
        living.has_ended = True
        if self._living.get(living.id) is living:
            del self._living[living.id]

    def answer(self, living: Living) -> bytes | None:
        """The answer to an operation whose calls are over, of which there may be none."""
        if living.errors:
            return self.error(living, living.errors)
        if living.has_ended or living.operation is None:
            return None
        return b"%b%b}" % (living.next_head, living.operation.answer(living.outcomes))

    def _over(self, request: Request, outcome: Any) -> bytes | None:
        living: Living = request.batch
        living.outcomes[request.id] = outcome
        living.left -= 1
        return None if living.left else self.answer(living)

    def _begin(self, id: str, payload: bytes) -> list[Request]:
        if id in self._living:
            raise Violation(4409, f"Subscriber for {id[:80]} already exists")
        try:
            asked = asked_in(payload)
        except Refusal as refusal:
            if refusal.code == "invalid_request" and "bound" not in refusal.facts:
                raise _invalid() from None
            return self._begun(Living(id, None, [error_of(refusal)]))
        try:
            return self._begun(Living(id, prepare(self._documents, asked)))
        except Refused as wrong:
            return self._begun(Living(id, None, wrong.errors))

    def _begun(self, living: Living) -> list[Request]:
        self._living[living.id] = living
        operation = living.operation
        if operation is None or not operation.calls:
            return [Request(None, None, batch=living)]
        return [
            Request(call.root.row, call.params, call.refusal, id=index, batch=living, method=call.root.name)
            for index, call in enumerate(operation.calls)
        ]

    def _odd(self, data: bytes) -> list[Request]:
        """What msgspec would not read: broken, or with a lone surrogate in it, which has a message to itself."""
        try:
            value = load(data)
        except (ValueError, RecursionError):
            raise _invalid() from None
        if not isinstance(value, dict) or value.get("type") != "subscribe" or self._stage is not Stage.JOINED:
            raise _invalid()
        payload, id = value.get("payload"), value.get("id")
        if not isinstance(payload, dict) or not isinstance(id, str) or bad_string(id) is not None:
            raise _invalid()
        id = _checked_id(id)
        if id in self._living:
            raise Violation(4409, f"Subscriber for {id[:80]} already exists")
        refusal = bad_string(payload.get("variables")) or bad_string(payload)
        if refusal is None:
            raise _invalid()
        field = refusal.facts["field"]
        if field in ("query", "operationName", "extensions"):
            refusal = invalid_params(field, "A document has no NUL and no lone surrogate.")
        return self._begun(Living(id, None, [error_of(refusal)]))


def session_notice(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """One of `NOTICES`, as a SessionNotice."""
    return {"type": NOTICES[name], **body}


def _greeting(payload: Raw | UnsetType) -> dict[str, Any]:
    """Raises: Violation, for a payload that is no object."""
    if payload is UNSET:
        return {}
    try:
        return _object.decode(payload) or {}
    except (msgspec.DecodeError, RecursionError):
        raise _invalid() from None


def _id_of(message: _Message) -> str:
    return _checked_id(None if message.id is UNSET else message.id)


def _checked_id(id: str | None) -> str:
    """Raises: Violation, for a message without an id, or with one that is too long to keep."""
    if not id or len(id) > ID_CHARS_MAX:
        raise _invalid()
    return id


def _invalid() -> Violation:
    return Violation(4400, "Invalid message")
