"""How each dialect says each refusal: one row for a code, one column for a dialect.

What a code means, and its HTTP status, is `domain/errors.py`. A test fails on a code without its cell.
Source: CONTRACT section 5.
"""

from collections.abc import Mapping
from typing import Any, Final

from parley.domain.errors import REFUSALS, Refusal

_BY_STATUS: Final[Mapping[int, int]] = {
    401: -32001,
    403: -32003,
    404: -32004,
    409: -32009,
    413: -32013,
    415: -32013,
    429: -32029,
    500: -32603,
    503: -32053,
}
_OF_THEIR_OWN: Final[Mapping[str, int]] = {
    "parse_error": -32700,
    "invalid_request": -32600,
    "unknown_command": -32601,
    "invalid_params": -32602,
}
#: Said over HTTP only, as a status: before there is a socket that could carry a JSON-RPC error.
HTTP_ONLY: Final = frozenset(
    {
        "ambiguous_credentials",
        "unsupported_subprotocol",
        "stopped",
        "method_not_allowed",
        "stalled",
        "authentication_timeout",
        "upgrade_required",
        "head_too_large",
    }
)
#: code -> the `code` of a JSON-RPC error object. Ambiguous credentials can meet a JSON-RPC reader too, as 401.
JSON_RPC: Final[Mapping[str, int]] = {
    code: _OF_THEIR_OWN.get(code) or _BY_STATUS[status]
    for code, (status, _) in REFUSALS.items()
    if code not in HTTP_ONLY
}


def error_data(refusal: Refusal) -> dict[str, Any]:
    """The machine-readable part of an error: `{code, status, ...facts}`."""
    return {"code": refusal.code, "status": refusal.status, **refusal.facts}
