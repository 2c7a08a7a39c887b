"""The native dialect: JSON-RPC 2.0 (https://www.jsonrpc.org/specification), on `/ws` and by `POST /rpc`.

A request has an `id` (string, integer or null) and is answered once; without one it is a notification and never is.
Parameters are one object, by name. A batch has 1 to 100 members and is answered by one array, in the order of the
answers, once the last is there; a batch of notifications is not answered.

| what came                                             | answer                              |
|-------------------------------------------------------|-------------------------------------|
| not JSON (`NaN` and `Infinity` are not)               | `parse_error`, `id` null            |
| JSON, but no request; nesting over 32                 | `invalid_request`, its `id` or null |
| a batch of none or of more than 100                   | one `invalid_request`, `id` null    |
| a method nobody has                                   | `unknown_command`                   |
| parameters of the wrong form, NUL, a lone surrogate   | `invalid_params` with `field`       |
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from parley.dialects.dialect import Request
from parley.dialects.error_codes import JSON_RPC, error_data
from parley.domain.commands import COMMANDS
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Event, Signal
from parley.domain.params import Params

BATCH_MAX: Final = 100
DEPTH_MAX: Final = 32

_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode


class _Envelope(Struct):
    jsonrpc: str
    method: str
    id: Raw | UnsetType = UNSET
    params: Raw | UnsetType = UNSET


class _Batch:
    """The answers to one batch, until all that are due are there."""

    __slots__ = ("answers", "due")

    def __init__(self, due: int) -> None:
        self.due = due
        self.answers: list[bytes] = []


_envelope: Final = msgspec.json.Decoder(_Envelope)
_array: Final = msgspec.json.Decoder(list[Raw])
_params: Final = {name: msgspec.json.Decoder(row.params) for name, row in COMMANDS.items()}
_ID = re.compile(rb'"|-?[0-9]+\Z|null\Z')
_FIELD = re.compile(r"(?:field `([^`]+)`)|(?:at `\$\.([A-Za-z0-9_]+))")
_NULL: Final = b"null"


class Native:
    """The codec. It has no state: one serves every connection and every request over HTTP."""

    name = "native"

    def receive(self, data: bytes) -> list[Request]:
        if _too_deep(data):
            return [self._broken(data, Refusal("invalid_request", f"Nesting goes {DEPTH_MAX} levels deep at most."))]
        if data.lstrip(b" \t\r\n")[:1] != b"[":
            return [self._request(data, None)]
        try:
            members = _array.decode(data)
        except msgspec.DecodeError:
            return [_unanswerable(Refusal("parse_error"))]
        if not 1 <= len(members) <= BATCH_MAX:
            return [_unanswerable(Refusal("invalid_request", f"A batch has 1 to {BATCH_MAX} requests."))]
        batch = _Batch(0)
        requests = [self._request(bytes(member), batch) for member in members]
        batch.due = sum(request.id is not None for request in requests)
        return requests

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

    def _request(self, data: bytes, batch: _Batch | None) -> Request:
        try:
            envelope = _envelope.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._broken(data, Refusal("invalid_request"), batch)
        request_id: bytes | None = None
        if envelope.id is not UNSET:
            request_id = bytes(envelope.id)
            if _ID.match(request_id) is None:
                wrong_id = Refusal("invalid_request", "An `id` is a string, an integer or null.")
                return Request(None, None, wrong_id, id=_NULL, batch=batch)
        method = envelope.method
        if envelope.jsonrpc != "2.0":
            wrong_version = Refusal("invalid_request", '`jsonrpc` is "2.0".')
            return Request(None, None, wrong_version, id=request_id or _NULL, batch=batch, method=method)
        row = COMMANDS.get(method)
        if row is None:
            return Request(None, None, Refusal("unknown_command"), id=request_id, batch=batch, method=method)
        raw = b"{}" if envelope.params is UNSET else bytes(envelope.params)
        try:
            if b"\\u0000" in raw and (bad := _bad_string(raw)) is not None:
                return Request(row, None, bad, id=request_id, batch=batch, method=method)
            params: Params = _params[method].decode(raw)
        except (msgspec.ValidationError, RecursionError) as wrong:
            return Request(row, None, params_refusal(raw, wrong), id=request_id, batch=batch, method=method)
        except msgspec.DecodeError:
            # Two ways lead here: a lone surrogate, which is JSON, and what only looked like JSON from outside.
            if not _is_json(raw):
                return Request(None, None, Refusal("parse_error"), id=_NULL, batch=batch)
            refusal = _bad_string(raw) or invalid_params("params", "The parameters can't be read.")
            return Request(row, None, refusal, id=request_id, batch=batch, method=method)
        return Request(row, params, id=request_id, batch=batch, method=method)

    def _broken(self, data: bytes, refusal: Refusal, batch: _Batch | None = None) -> Request:
        """What is no request: not JSON at all, or JSON of another form, whose `id` we look for to answer it."""
        if not _is_json(data):
            return _unanswerable(Refusal("parse_error"), batch)
        try:
            value = json.loads(data)
        except RecursionError:
            value = None
        found = value.get("id") if isinstance(value, dict) else None
        usable = isinstance(found, str | int) and not isinstance(found, bool)
        return Request(None, None, refusal, id=json.dumps(found).encode() if usable else _NULL, batch=batch)


def params_refusal(raw: bytes, wrong: Exception) -> Refusal:
    """What msgspec found wrong with a command's parameters, said for people, with the `field`."""
    if raw[:1] == b"[":
        return Refusal("invalid_params", "Parameters go by name: send an object.", field="params")
    told = str(wrong)
    found = _FIELD.search(told)
    field = (found[1] or found[2]) if found else "params"
    if "unknown field" in told:
        return invalid_params(field, f"There is no parameter `{field}`.")
    if "missing required" in told:
        return invalid_params(field, f"The parameter `{field}` is required.")
    return invalid_params(field, told.split(" - at ")[0] + ".")


def _answer(request: Request, answer: bytes) -> bytes | None:
    batch: _Batch | None = request.batch
    if batch is None:
        return answer
    batch.answers.append(answer)
    return b"[%b]" % b",".join(batch.answers) if len(batch.answers) == batch.due else None


def _unanswerable(refusal: Refusal, batch: _Batch | None = None) -> Request:
    return Request(None, None, refusal, id=_NULL, batch=batch)


def _too_deep(data: bytes) -> bool:
    # Most messages have fewer brackets in all than levels allowed; only the others are walked.
    if data.count(b"{") + data.count(b"[") <= DEPTH_MAX:
        return False
    depth = 0
    for part in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', data, re.DOTALL):
        first = part[0][0]
        if first in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _is_json(data: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _bad_string(raw: bytes) -> Refusal | None:
    """The refusal of a NUL or a lone surrogate, naming the parameter that has it; None where there is none after all."""

    def has_it(value: Any) -> bool:
        if isinstance(value, str):
            return "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value)
        if isinstance(value, dict):
            return any(has_it(k) or has_it(v) for k, v in value.items())
        return isinstance(value, list) and any(map(has_it, value))

    value = json.loads(raw)
    fields = [name for name, part in value.items() if has_it(name) or has_it(part)] if isinstance(value, dict) else []
    return invalid_params(fields[0], "A string has no NUL and no lone surrogate.") if fields else None
