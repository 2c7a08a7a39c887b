"""Tokens for Starlette and FastAPI: WebSocket endpoints that end or renew with their token, and HTTP requests.

    gate = StarletteGate(verifier, subprotocols=["chat.v1"])

    @app.websocket("/ws")                                     # Starlette: WebSocketRoute("/ws", chat)
    @gate.websocket
    async def chat(socket: TokenWebSocket): ...               # it is accepted already; socket.claims

    @app.get("/me")
    async def me(claims: Annotated[AccessClaims, Depends(gate.claims)]): ...    # Starlette: await gate.claims(request)

    gate.install(app)                                         # refusals as application/problem+json

FastAPI itself is not imported: what it calls here is Starlette's.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from parley.tokens.adapters.gate import Gate, http_refusal
from parley.tokens.adapters.live_socket import LiveSocket, UnderToken
from parley.tokens.bearer import Endpoint
from parley.tokens.claims import AccessClaims
from parley.tokens.errors import TokenRefused

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import HTTPConnection
    from starlette.responses import Response
    from starlette.types import Message
    from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
except ImportError:
    raise ImportError("parley.tokens.adapters.starlette needs the framework: pip install starlette") from None

_HTTP = Endpoint(frozenset({"header"}))


class RequestRefused(HTTPException):
    """A request's credential was refused: `refusal` says why. `StarletteGate.install` makes problem details of it;
    without that it is the framework's own answer, with the right status and challenge.
    """

    def __init__(self, refusal: TokenRefused) -> None:
        challenge = {name: value for name, value in http_refusal(refusal).headers if name == "WWW-Authenticate"}
        super().__init__(refusal.status, refusal.code, challenge)
        self.refusal = refusal


class TokenWebSocket(UnderToken, WebSocket):
    """Starlette's WebSocket, opened by a token and accepted already. What is sent waits while the token is expired, and
    goes out once it is renewed.
    """

    def __init__(self, opened: WebSocket, live: LiveSocket) -> None:
        super().__init__(opened.scope, self._next, self._hand_over)
        self.client_state = self.application_state = WebSocketState.CONNECTED
        self._opened = opened
        self._live = live

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Nothing is left to do: the gate has accepted, and selected the subprotocol."""

    async def _next(self) -> Message:
        message = await self._live.receive()
        if message is None:
            return self._wire.farewell
        return {"type": "websocket.receive", "text": None, "bytes": None} | (
            {"text": message} if isinstance(message, str) else {"bytes": message}
        )

    async def _hand_over(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            await self._live.usable()
        if self._opened.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect(self._wire.farewell["code"], self._wire.farewell["reason"])
        await self._opened.send(message)

    @property
    def _wire(self) -> _Wire:
        wire = self._live.wire
        assert isinstance(wire, _Wire)
        return wire


class StarletteGate(Gate):
    """A gate for WebSocket endpoints (`websocket`) and for requests (`claims`)."""

    def websocket(self, endpoint: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Wrap an endpoint: it is called for those that came in, and its WebSocket is a TokenWebSocket."""

        @functools.wraps(endpoint)
        async def attended(*args: Any, **kwargs: Any) -> None:
            # Starlette hands the socket over by position, FastAPI by its name.
            opening = next(value for value in (*args, *kwargs.values()) if isinstance(value, WebSocket))
            live = await self._open(opening)
            if live is None:
                return
            socket = TokenWebSocket(opening, live)
            placed = [socket if value is opening else value for value in args]
            named = {name: socket if value is opening else value for name, value in kwargs.items()}
            with contextlib.suppress(WebSocketDisconnect):  # the peer went, or its token: no fault of the endpoint
                await live.attend(lambda: endpoint(*placed, **named))
            if opening.application_state is WebSocketState.CONNECTED is opening.client_state:
                await opening.close()

        return attended

    async def claims(self, connection: HTTPConnection) -> AccessClaims:
        """Whose request it is, by `Authorization: Bearer`: `await` it, or `Depends` on it.

        Raises: RequestRefused.
        """
        try:
            credential = self.find(_headers(connection), "", _HTTP).credential
            assert credential is not None
            return await self.verify(credential)
        except TokenRefused as refusal:
            raise RequestRefused(refusal) from None

    def install(self, app: Starlette) -> None:
        """Have RequestRefused answered with problem details."""
        app.add_exception_handler(RequestRefused, _answer)

    async def _open(self, opening: WebSocket) -> LiveSocket | None:
        """Admit or refuse; None where it was refused."""
        try:
            presented = self.find(_headers(opening), opening.url.query)
        except TokenRefused as refusal:
            await _deny(opening, refusal)
            return None
        claims: AccessClaims | None = None
        refused: TokenRefused | None = None
        if presented.credential is not None:
            try:
                claims = await self.verify(presented.credential)
            except TokenRefused as refusal:
                if presented.refused_by_http:
                    await _deny(opening, refusal)
                    return None
                refused = refusal
        await opening.accept(presented.subprotocol)
        if refused is not None:
            await opening.close(4401, refused.code)
            return None
        live = LiveSocket(self, _Wire(opening))
        return None if await live.admit(claims) is None else live


class _Wire:
    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.farewell: Message = {"type": "websocket.disconnect", "code": 1005, "reason": ""}

    async def receive(self) -> str | bytes | None:
        if self._socket.client_state is not WebSocketState.CONNECTED:
            return None
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            self.farewell = {"reason": "", **message}
            return None
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def send(self, text: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(WebSocketDisconnect):
                await self._socket.send_text(text)

    async def close(self, code: int, reason: str) -> None:
        self.farewell = {"type": "websocket.disconnect", "code": code, "reason": reason}
        if self._socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(WebSocketDisconnect):
                await self._socket.close(code, reason)


async def _deny(opening: WebSocket, refusal: TokenRefused) -> None:
    refused = http_refusal(refusal)
    if "websocket.http.response" in opening.scope.get("extensions", {}):
        await opening.send_denial_response(Response(refused.body, refused.status, dict(refused.headers)))
    else:
        # The server can't refuse with an answer of ours: what is left that says why is a close.
        await opening.accept()
        await opening.close(4401, refusal.code)


async def _answer(_request: HTTPConnection, refused: Exception) -> Response:
    assert isinstance(refused, RequestRefused)
    answer = http_refusal(refused.refusal)
    return Response(answer.body, answer.status, dict(answer.headers))


def _headers(connection: HTTPConnection) -> list[tuple[str, str]]:
    return connection.headers.items()
