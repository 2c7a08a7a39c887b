"""The native dialect: JSON-RPC 2.0 (https://www.jsonrpc.org/specification), on `/ws` and by `POST /rpc`.

A request has an `id` (string, integer or null) and is answered once; without one it is a notification and never is.
Parameters are one object, by name. A batch has 1 to 100 members and is answered by one array, in the order of the
answers, once the last is there; a batch of notifications is not answered.

| what came                                             | answer                              |
|-------------------------------------------------------|-------------------------------------|
| not JSON in UTF-8 (`NaN` and `Infinity` are not)      | `parse_error`, `id` null            |
| JSON, but no request; nesting over 32                 | `invalid_request`, its `id` or null |
| a batch of none or of more than 100                   | one `invalid_request`, `id` null    |
| a method nobody has                                   | `unknown_command`                   |
| parameters of the wrong form, NUL, a lone surrogate   | `invalid_params` with `field`       |

How parameters are read, and what msgspec will not read is read once more, is `parameters.py`.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from parley.dialects.dialect import Batch, Ended, Request
from parley.dialects.error_codes import JSON_RPC, error_data
from parley.dialects.parameters import DEPTH_MAX, bad_string, depth, is_balanced, is_utf8, load, read_params
from parley.domain.commands import COMMANDS
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal

BATCH_MAX: Final = 100

_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode


class _Envelope(Struct, gc=False):
    jsonrpc: str
    method: str
    id: Raw | UnsetType = UNSET
    params: Raw | UnsetType = UNSET


_envelope: Final = msgspec.json.Decoder(_Envelope)
_array: Final = msgspec.json.Decoder(list[Raw])
# As parameters: no NUL, no lone surrogate, no number beyond what every reader can hold. Escapes are looked at below.
_ID = re.compile(rb'"|-?[0-9]{1,16}\Z|null\Z')
NULL_ID: Final = b"null"


class Native:
    """The codec. It has no state: one serves every connection and every request over HTTP."""

    name = "native"

    def receive(self, data: bytes) -> list[Request]:
        if not data.isascii() and not is_utf8(data):
            return [_unanswerable(Refusal("parse_error"))]
        if depth(data) > DEPTH_MAX:
            return [self._broken(data, Refusal("invalid_request", f"Nesting goes {DEPTH_MAX} levels deep at most."))]
        if data.lstrip(b" \t\r\n")[:1] != b"[":
            return [self._request(data, None)]
        members = _members(data)
        if members is None:
            return [_unanswerable(Refusal("parse_error"))]
        if not 1 <= len(members) <= BATCH_MAX:
            return [_unanswerable(Refusal("invalid_request", f"A batch has 1 to {BATCH_MAX} requests."))]
        batch = Batch()
        requests = [self._request(bytes(member), batch) for member in members]
        batch.due = sum(request.id is not None for request in requests)
        return requests

    def receive_binary(self, data: bytes) -> list[Request]:
        raise Ended(1003, "text messages only")

    def result(self, request: Request, result: Any) -> bytes | None:
        if request.id is None:
            return None
        return _answer(request, b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (request.id, _encode(result)))

    def refused(self, request: Request, refusal: Refusal) -> bytes | None:
        if request.id is None:
            return None
        error = {"code": JSON_RPC.get(refusal.code, -32001), "message": refusal.message, "data": error_data(refusal)}
        return _answer(request, b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (request.id, _encode(error)))

    def event(self, event: Event) -> bytes:
        return b'{"jsonrpc":"2.0","method":"event","params":%b}' % _encode(event)

    def signal(self, signal: Signal) -> bytes:
        return b'{"jsonrpc":"2.0","method":"signal","params":%b}' % _encode(signal)

    def notice(self, name: str, body: dict[str, Any]) -> bytes:
        return b'{"jsonrpc":"2.0","method":"%b","params":%b}' % (name.encode(), _encode(body))

    def goodbye(self, code: int) -> bytes | None:
        return None

    def _request(self, data: bytes, batch: Batch | None) -> Request:
        try:
            envelope = _envelope.decode(data)
        except msgspec.DecodeError:
            return self._broken(data, Refusal("invalid_request"), batch)
        request_id: bytes | None = None
        if envelope.id is not UNSET:
            request_id = bytes(envelope.id)
            if _ID.match(request_id) is None or not _is_plain(request_id):
                wrong_id = Refusal("invalid_request", "An `id` is a string, an integer or null.")
                return Request(None, None, wrong_id, id=NULL_ID, batch=batch)
        method = envelope.method
        if envelope.jsonrpc != "2.0":
            wrong_version = Refusal("invalid_request", '`jsonrpc` is "2.0".')
            return Request(None, None, wrong_version, id=request_id or NULL_ID, batch=batch, method=method)
        row = COMMANDS.get(method)
        if row is None:
            return Request(None, None, Refusal("unknown_command"), id=request_id, batch=batch, method=method)
        raw = b"{}" if envelope.params is UNSET else bytes(envelope.params)
        try:
            params = read_params(method, raw)
        except Refusal as bad:
            return Request(row, None, bad, id=request_id, batch=batch, method=method)
        return Request(row, params, id=request_id, batch=batch, method=method)

    def _broken(self, data: bytes, refusal: Refusal, batch: Batch | None = None) -> Request:
        """What msgspec would not read as a request: not JSON at all, JSON of another form, or a lone surrogate in it.

        Where it has an `id`, that answers it.
        """
        try:
            value = load(data)
        except RecursionError:
            return _unanswerable(refusal if is_balanced(data) else Refusal("parse_error"), batch)
        except ValueError:
            return _unanswerable(Refusal("parse_error"), batch)
        if not isinstance(value, dict):
            return _unanswerable(refusal, batch)
        found = value.get("id")
        usable = isinstance(found, str | int) and not isinstance(found, bool)
        usable = usable and _ID.match(json.dumps(found).encode()) is not None and _is_plain(json.dumps(found).encode())
        request_id = json.dumps(found).encode() if usable else NULL_ID
        method = value.get("method")
        if not isinstance(method, str) or value.get("jsonrpc") != "2.0" or not (usable or found is None):
            return Request(None, None, refusal, id=request_id, batch=batch)
        if (bad := bad_string(value.get("params"))) is None:
            return Request(None, None, refusal, id=request_id, batch=batch)
        row = COMMANDS.get(method)
        answer_to = request_id if "id" in value else None
        return Request(row, None, bad if row else Refusal("unknown_command"), id=answer_to, batch=batch, method=method)


def _is_plain(request_id: bytes) -> bool:
    """Whether an `id` can be given back to any reader."""
    if request_id[:1] != b'"':
        return request_id == NULL_ID or abs(int(request_id)) <= 2**53
    return b"\\u" not in request_id or bad_string(json.loads(request_id)) is None


def _answer(request: Request, answer: bytes) -> bytes | None:
    batch: Batch | None = request.batch
    if batch is None:
        return answer
    batch.answers.append(answer)
    return b"[%b]" % b",".join(batch.answers) if batch.is_answered else None


def _unanswerable(refusal: Refusal, batch: Batch | None = None) -> Request:
    return Request(None, None, refusal, id=NULL_ID, batch=batch)


def _members(data: bytes) -> Sequence[Raw | bytes] | None:
    """The members of a JSON array, each whole; None where it is no JSON."""
    try:
        return _array.decode(data)
    except msgspec.DecodeError:
        try:
            value = load(data)
        except ValueError:
            return None
        return [json.dumps(member).encode() for member in value]
