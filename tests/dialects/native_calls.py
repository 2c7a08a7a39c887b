"""What the tests of the native dialect send and are told, in one line each."""

import json
from typing import Any

from parley.dialects.dialect import Request
from parley.dialects.native import Native

native = Native()


def call(method: str = "message.send", params: Any = None, **more: Any) -> dict[str, Any]:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, **more}
    return request if params is None else {**request, "params": params}


def text(request: Any) -> bytes:
    return request if isinstance(request, bytes) else json.dumps(request).encode()


def receive(message: Any) -> list[Request]:
    return native.receive(text(message))


def answers(message: Any) -> list[bytes]:
    """What goes back where every command that gets through has the result `"done"`."""
    out = []
    for request in receive(message):
        if request.refusal is not None:
            out.append(native.refused(request, request.refusal))
        else:
            assert request.row is not None
            assert type(request.params) is request.row.params
            out.append(native.result(request, "done"))
    return [answer for answer in out if answer is not None]


def answer(message: Any) -> Any:
    (only,) = answers(message)
    return json.loads(only)


def error(message: Any) -> tuple[str, Any]:
    """The code and the `id` of the one answer, which is an error."""
    told = answer(message)
    assert "result" not in told
    assert told["error"]["data"]["status"] >= 400
    return told["error"]["data"]["code"], told["id"]


def wrong_field(params: Any, method: str = "message.send") -> str:
    told = answer(call(method, params))
    assert told["id"] == 1
    assert told["error"]["code"] == -32602
    assert told["error"]["data"]["code"] == "invalid_params"
    field: str = told["error"]["data"]["field"]
    return field


def nested(depth: int) -> Any:
    """A JSON array that nests this deep."""
    return json.loads("[" * depth + "]" * depth)
