"""The HTTP side of Engine.IO: the request that opens a session, polls, and what a client sends by POST.

Checks what Engine.IO demands of a request and how long a body may be. Who may open a session is decided by whoever is
asked (`admit`); what a session does is `engineio.py`'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from parley.dialects import engineio
from parley.domain.errors import Refusal
from parley.transport import bodies
from parley.transport.engine import Engine
from parley.transport.engineio import Peer, Session
from parley.transport.handing_on import HandingOn, unknown_session

#: Gives the peer of a new session, for a request that brought no `sid`. Raises: Refusal.
Admit = Callable[[Request], Awaitable[Peer]]
Check = Callable[[Iterable[tuple[str, str]]], None]

_METHODS: Final = frozenset({"GET", "POST", "OPTIONS"})


def session_asked(query: str, transport: str) -> str | None:
    """The `sid` that a request names, None where it asks for a new session. `query` is raw.

    Raises: Refusal where the protocol or the transport is not the one.
    """
    asked = dict(parse_qsl(query, keep_blank_values=True))
    if asked.get("transport") != transport:
        raise Refusal("invalid_request", f"The `transport` of this request is {transport}.")
    if asked.get("EIO") != engineio.PROTOCOL:
        raise Refusal("invalid_request", "Only version 4 of Engine.IO is spoken: `EIO=4`.")
    return asked.get("sid")


class Polling:
    """The ASGI application of one path. Refusals are raised, for the application around it to say.

    `admit` is asked for each new session; `check` sees the headers of every other request, its preflight too, and may
    refuse it. Where there are other nodes, `handing_on` brings theirs to them.
    """

    def __init__(
        self, engine: Engine, admit: Admit, check: Check | None = None, handing_on: HandingOn | None = None
    ) -> None:
        self._engine = engine
        self._admit = admit
        self._check = check
        self._handing_on = handing_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method = request.method
        if method not in _METHODS:
            raise Refusal("invalid_request", "Engine.IO has GET and POST.")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if self._check is not None and method != "GET":
            self._check(headers)
        if method == "OPTIONS":
            await Response(status_code=204, headers={"Allow": "GET, POST, OPTIONS"})(scope, receive, send)
            return
        sid = session_asked(scope["query_string"].decode("latin-1"), "polling")
        if self._check is not None and method == "GET" and sid is not None:
            self._check(headers)
        session = self._engine.find(sid) if sid is not None else None
        if session is None and sid is not None and self._handing_on is not None:
            address = self._handing_on.elsewhere(sid, headers)
            if address is not None:
                body = await bodies.read(request, self._engine.payload_bytes_max) if method == "POST" else b""
                await self._handing_on.request(address, request, body, send)
                return
        if (sid is None and method == "POST") or (sid is not None and session is None):
            raise unknown_session()
        if session is None:
            session = self._engine.session(await self._admit(request))
            await _said(session.open_polling())(scope, receive, send)
        elif method == "GET":
            await _poll(session, request, send)
        else:
            await self._post(session, request, send)

    async def _post(self, session: Session, request: Request, send: Send) -> None:
        is_read = session.post()
        try:
            try:
                body = await bodies.read(request, self._engine.payload_bytes_max)
            except BaseException:
                session.lost_request()
                raise
            if is_read:
                await session.receive(body)
        finally:
            session.posted()
        await _said(b"ok")(request.scope, request.receive, send)


async def _poll(session: Session, request: Request, send: Send) -> None:
    poll = session.poll()
    gone = asyncio.ensure_future(bodies.until_gone(request.receive))
    is_answered = False
    try:
        await asyncio.wait((poll, gone), return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            await _said(poll.result())(request.scope, request.receive, send)
            is_answered = True
    finally:
        gone.cancel()
        if not is_answered:
            session.lost_request()
        session.polled()


def _said(body: bytes) -> Response:
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="text/plain")
