"""Tokens for servers made with the library `websockets`: its `process_request`, and each connection's life after it.

    gate = WebSocketsGate(verifier, subprotocols=["chat.v1"])
    serve(gate.handler(chat), host, port, **gate.hooks)     # its process_request and its select_subprotocol

`chat` gets a `TokenSocket`: its `claims`, and messages like those of the library's connection, which is beside it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from parley.tokens.adapters.gate import Gate, http_refusal
from parley.tokens.adapters.live_socket import LiveSocket, UnderToken
from parley.tokens.bearer import Presented
from parley.tokens.claims import AccessClaims
from parley.tokens.errors import TokenRefused

try:
    from websockets.asyncio.server import ServerConnection
    from websockets.datastructures import Headers
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Request, Response
    from websockets.protocol import State
    from websockets.typing import Data, Subprotocol
except ImportError:
    raise ImportError("parley.tokens.adapters.websockets needs the library: pip install 'websockets>=14'") from None


class TokenSocket(UnderToken):
    """A connection that a token opened. What is sent waits while the token is expired, and goes out once it is renewed.

    `connection` is the library's own; what is sent by it directly, or by `broadcast()`, asks nobody: send only to those
    that are not `is_held`.
    """

    def __init__(self, connection: ServerConnection, live: LiveSocket) -> None:
        self.connection = connection
        self._live = live

    async def send(self, message: str | bytes) -> None:
        """Raises: websockets.ConnectionClosed."""
        await self._live.usable()
        await self.connection.send(message)

    async def recv(self) -> str | bytes:
        """The next message that is not about the session. Raises: websockets.ConnectionClosed."""
        message = await self._live.receive()
        if message is None:
            return await self.connection.recv()
        return message

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Messages until the connection is closed, however it ends."""
        while (message := await self._live.receive()) is not None:
            yield message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.connection.close(code, reason)


class WebSocketsGate(Gate):
    """A gate for `websockets.asyncio.server.serve`: give it all three of `handler`, `process_request` and
    `select_subprotocol`; without its request a connection is closed.
    """

    @property
    def hooks(self) -> dict[str, Any]:
        """The two that are arguments by name."""
        return {"process_request": self.process_request, "select_subprotocol": self.select_subprotocol}

    async def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse by HTTP what is to be refused so; everything else is said on the open connection."""
        try:
            presented = self.find(request.headers.raw_items(), urlsplit(request.path).query)
        except TokenRefused as refusal:
            return _response(refusal)
        outcome: AccessClaims | TokenRefused | None = None
        if presented.credential is not None:
            try:
                outcome = await self.verify(presented.credential)
            except TokenRefused as refusal:
                if presented.refused_by_http:
                    return _response(refusal)
                outcome = refusal
        self._openings[connection] = presented, outcome
        return None

    def select_subprotocol(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """The real one of those offered, never the one that carries the token."""
        presented, _ = self._openings[connection]
        return None if presented.subprotocol is None else Subprotocol(presented.subprotocol)

    def handler(
        self, handle: Callable[[TokenSocket], Awaitable[None]]
    ) -> Callable[[ServerConnection], Awaitable[None]]:
        """Wrap your handler: it is called for those that came in, and told whose socket it is."""

        async def attended(connection: ServerConnection) -> None:
            if connection not in self._openings:
                raise RuntimeError("serve() needs process_request=gate.process_request")
            _, outcome = self._openings.pop(connection)
            if isinstance(outcome, TokenRefused):
                await connection.close(4401, outcome.code)
                return
            live = LiveSocket(self, _Wire(connection))
            if await live.admit(outcome) is None:
                return
            try:
                await live.attend(lambda: handle(TokenSocket(connection, live)))
            except ConnectionClosed:
                if connection.state is not State.CLOSED:
                    raise

        return attended

    @functools.cached_property
    def _openings(self) -> WeakKeyDictionary[ServerConnection, tuple[Presented, AccessClaims | TokenRefused | None]]:
        """Connections between their request and their handler; one that never gets there is forgotten with itself."""
        return WeakKeyDictionary()


class _Wire:
    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def receive(self) -> Data | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    async def send(self, text: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._connection.send(text)

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)


def _response(refusal: TokenRefused) -> Response:
    refused = http_refusal(refusal)
    headers = Headers([*refused.headers, ("Content-Length", str(len(refused.body))), ("Connection", "close")])
    return Response(refused.status, "Unauthorized" if refused.status == 401 else "Bad Request", headers, refused.body)
