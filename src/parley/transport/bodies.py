"""What a request brings: its media type, its bytes within their limit, its JSON object or its form; and its end.

Knows no request's meaning; `http` asks for what it takes.
"""

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Receive

from parley.domain.errors import Refusal, invalid_params

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
#: A body that is not here after this many seconds is not waited for.
BODY_S_MAX: Final = 30.0
FORM_FIELDS_MAX: Final = 100


def require_media_type(request: Request, taken: Collection[str]) -> str:
    """The media type, one of those taken. Raises: Refusal (`unsupported_media_type`)."""
    values = request.headers.getlist("content-type")
    essence, *parameters = (part.strip().lower() for part in (values[0] if values else "").split(";"))
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    encoded = request.headers.get("content-encoding", "identity").strip().lower() != "identity"
    if len(values) != 1 or essence not in taken or encoded or any(one not in ("utf-8", "utf8") for one in charsets):
        raise Refusal("unsupported_media_type", f"Send {' or '.join(taken)}, in UTF-8 and not compressed.")
    return essence


async def read(request: Request, bytes_max: int, seconds_max: float = BODY_S_MAX) -> bytes:
    """The whole body; `bytes_max` of 0 is no limit.

    Raises: Refusal (`too_large`, without reading on; `invalid_request` where it takes too long), ClientDisconnect.
    """
    length = request.headers.get("content-length", "")
    if bytes_max and length.isascii() and length.isdigit() and int(length) > bytes_max:
        raise _too_large(bytes_max)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds_max):
            async for piece in request.stream():
                body += piece
                if bytes_max and len(body) > bytes_max:
                    raise _too_large(bytes_max)
    except TimeoutError:
        raise Refusal("invalid_request", f"The body was not there within {seconds_max:g} s.") from None
    return bytes(body)


async def until_gone(receive: Receive) -> None:
    """Until the client has hung up; what it sends before is not looked at."""
    while (await receive())["type"] != "http.disconnect":
        pass


def json_object(body: bytes) -> dict[str, Any]:
    """Raises: Refusal (`parse_error` for what is not JSON in UTF-8, `invalid_params` for JSON of another form)."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_int=_whole_number,
        )
    except ValueError:
        raise Refusal("parse_error") from None
    except RecursionError:
        raise invalid_params("body", "The body is nested too deeply.") from None
    if not isinstance(value, dict):
        raise invalid_params("body", "The body is a JSON object.")
    return value


def form(body: bytes) -> dict[str, Any]:
    """Raises: Refusal (`parse_error` for what is no form, `invalid_params` for one with a field twice)."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=FORM_FIELDS_MAX,
        )
    except ValueError:
        raise Refusal("parse_error", "The body is not a form in UTF-8.") from None
    return _without_duplicates(pairs)


def texts(members: dict[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The members of these names, all of them texts and no others beside them.

    Raises: Refusal (`invalid_params`) with the `field` that is missing, unknown or of the wrong form.
    """
    for name in members:
        if name not in names:
            # Its name is the client's own text: cut, for the answer is no echo.
            raise invalid_params(_shown(name), "There is no such member here.")
    for name in names:
        value = members.get(name)
        if name not in members:
            raise invalid_params(name, f"The member `{name}` is required.")
        if not isinstance(value, str):
            raise invalid_params(name, f"The member `{name}` is a text.")
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise invalid_params(name, "A text has no NUL and no lone surrogate.")
    return tuple(members[name] for name in names)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise invalid_params(_shown(name), "A member comes once.")
        members[name] = value
    return members


def _shown(name: str) -> str:
    return name[:64].encode("utf-8", "replace").decode()


def _whole_number(digits: str) -> float:
    # Python reads no more than 4,300 digits, which would make a number of more no JSON; it is only too large.
    return int(digits) if len(digits) < 20 else float(digits)


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _too_large(bytes_max: int) -> Refusal:
    return Refusal("too_large", f"A body has at most {bytes_max} bytes.")
