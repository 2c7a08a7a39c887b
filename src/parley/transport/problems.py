"""Refusals over HTTP: `application/problem+json` (RFC 9457) with the headers that go with each status.

The one place that says them, for answers of the application and of a refused upgrade alike. Decides no refusal.
"""

import functools
import math
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

from parley.domain.errors import Refusal
from parley.tokens import TokenRefused
from parley.tokens.bearer import challenge
from parley.tokens.errors import TOKEN_CODES

Headers = Iterable[tuple[str, str]]

#: Refusals without facts that are kept as bytes; there are about as many as codes.
SENTENCES_KEPT: Final = 128

_STATUS_LINES: Final = {int(s): f"HTTP/1.1 {int(s)} {s.phrase}\r\n".encode() for s in HTTPStatus}


class Refuse:
    """An answer to an upgrade request that is none: said by HTTP, and then the connection is closed.

    `encoded` is all of it, ready to be written. Raises: ValueError for a line break in a header.
    """

    __slots__ = ("encoded", "status")

    def __init__(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        self.status = status
        lines = [_STATUS_LINES[status], *(header_line(name, value) for name, value in headers)]
        lines.append(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        lines.append(body)
        self.encoded = b"".join(lines)


def header_line(name: str, value: str) -> bytes:
    """Raises: ValueError for a line break, which would begin another header."""
    line = f"{name}: {value}"
    if "\r" in line or "\n" in line:
        raise ValueError("a header with a line break in it")
    return line.encode("latin-1") + b"\r\n"


def refused(refusal: Refusal) -> Refuse:
    """A refusal as the answer to an upgrade request."""
    if not refusal.facts:
        return _without_facts(refusal.code, refusal.message)
    return Refuse(refusal.status, _headers_of(refusal, ()), _body_of(refusal))


@functools.lru_cache(SENTENCES_KEPT)
def _without_facts(code: str, message: str) -> Refuse:
    """The same bytes for everybody: what a flood of bad tokens is answered with is written down once."""
    refusal = Refusal(code, message)
    return Refuse(refusal.status, _headers_of(refusal, ()), _body_of(refusal))


def response(refusal: Refusal, headers: Headers = ()) -> Response:
    """A refusal as the application's answer."""
    return Response(_body_of(refusal), refusal.status, dict(_headers_of(refusal, headers)))


def problem(status: int, code: str, detail: str, headers: Headers = ()) -> Refuse:
    """A refusal before there is anything to ask: a request that is not well formed, as HTTP or as an upgrade."""
    return Refuse(status, [*_ALWAYS, *headers], _encoded(status, code, detail))


_ALWAYS: Final = (
    ("Content-Type", "application/problem+json"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


def _body_of(refusal: Refusal) -> bytes:
    return _encoded(refusal.status, refusal.code, refusal.message, **refusal.facts)


def _encoded(status: int, code: str, detail: str, **facts: Any) -> bytes:
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return msgspec.json.encode({**said, **{name: fact for name, fact in facts.items() if name not in said}})


def _headers_of(refusal: Refusal, headers: Headers) -> list[tuple[str, str]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    said = list(_ALWAYS)
    if refusal.status == 401:
        said.append(("WWW-Authenticate", _challenge(refusal)))
    if refusal.status in (429, 503):
        # RFC 9110 §10.2.3 has whole seconds; rounded up, so that nobody comes back too early.
        said.append(("Retry-After", str(max(1, math.ceil(refusal.facts.get("retry_after", 1))))))
    return [(name, value) for name, value in said if name.lower() not in names] + given


def _challenge(refusal: Refusal) -> str:
    # A wrong password or refresh token is no wrong access token: the challenge then names no error (RFC 6750 §3).
    return challenge(TokenRefused(refusal.code if refusal.code in TOKEN_CODES else "token_missing"))
