"""The same echo behind a gate of each framework, on a real port, and a clock that moves when a test says so."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.server import serve

from parley.tokens import Issuer, KeySet, RevocationSet, Verifier
from parley.tokens.adapters.gate import Gate
from parley.tokens.adapters.starlette import StarletteGate, TokenWebSocket
from parley.tokens.adapters.websockets import TokenSocket, WebSocketsGate
from tests.libraries import library
from tests.tokens.forge import KEY

PATIENCE_S = 10.0

_numbers = itertools.count(1)


class Clock:
    """The machine's, put forward by `ahead_s`."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Door:
    """A gate, where it is reached, and those who came in: `say(socket, text)` sends from outside the handler."""

    def __init__(self, gate: Gate, clock: Clock, revocations: RevocationSet) -> None:
        self.gate = gate
        self.clock = clock
        self.revocations = revocations
        self.url = ""
        self.inside: asyncio.Queue[Any] = asyncio.Queue()
        self.say: Callable[[Any, str], Any] = lambda socket, text: socket.send(text)

    def token(self, sub: str = "ada", *, ttl_s: float = 900, **claims: Any) -> str:
        return token(self.clock, sub, ttl_s=ttl_s, **claims)

    def forward(self, seconds: float) -> None:
        self.clock.ahead_s += seconds
        self.gate.recheck()


def token(clock: Callable[[], float], sub: str = "ada", *, ttl_s: float = 900, key: Any = KEY, **claims: Any) -> str:
    given = {"type": "account", "roles": ["member"], "sid": f"s-{sub}", "jti": f"t{next(_numbers)}", **claims}
    return Issuer(key).issue(sub=sub, now_s=clock(), ttl_s=ttl_s, **given)


@asynccontextmanager
async def opened(framework: str, **rules: Any) -> AsyncIterator[Door]:
    """A door of one framework: websockets, starlette or fastapi. Its handler echoes; `deaf` never reads."""
    clock, revocations = Clock(), RevocationSet()
    verifier = Verifier(KeySet([KEY]), revocations=revocations)
    rules = {"subprotocols": ["chat.v1"], "clock": clock, **rules}
    if framework == "websockets":
        async with _websockets(WebSocketsGate(verifier, **rules), clock, revocations) as door:
            yield door
    else:
        make = _starlette if framework == "starlette" else _fastapi
        async with _asgi(StarletteGate(verifier, **rules), make, clock, revocations) as door:
            yield door


@asynccontextmanager
async def _websockets(gate: WebSocketsGate, clock: Clock, revocations: RevocationSet) -> AsyncIterator[Door]:
    door = Door(gate, clock, revocations)

    async def echo(client: TokenSocket) -> None:
        door.inside.put_nowait(client)
        if client.claims.name == "deaf":
            await client.connection.wait_closed()
        async for text in client:
            await client.send(f"{client.claims.sub}: {text!s}" if isinstance(text, str) else text)

    async with serve(gate.handler(echo), "127.0.0.1", 0, close_timeout=1, **gate.hooks) as server:
        door.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        yield door


def _starlette(gate: StarletteGate, echo: Any) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/", gate.websocket(echo))])


def _fastapi(gate: StarletteGate, echo: Any) -> Starlette:
    fastapi = library("fastapi")

    def greeting() -> str:
        return "injected"

    async def endpoint(client: TokenWebSocket, said: Annotated[str, fastapi.Depends(greeting)]) -> None:
        assert said == "injected"
        await echo(client)

    # Annotations that are texts are read among the module's names, and this one has a name of this function in it.
    endpoint.__annotations__ = {"client": TokenWebSocket, "said": Annotated[str, fastapi.Depends(greeting)]}
    app: Starlette = fastapi.FastAPI()
    app.websocket("/")(gate.websocket(endpoint))  # type: ignore[attr-defined]
    return app


@asynccontextmanager
async def _asgi(gate: StarletteGate, make: Any, clock: Clock, revocations: RevocationSet) -> AsyncIterator[Door]:
    door = Door(gate, clock, revocations)
    door.say = lambda client, text: client.send_text(text)

    async def echo(client: TokenWebSocket) -> None:
        await client.accept()  # as everybody writes it; it is accepted already
        door.inside.put_nowait(client)
        if client.claims.name == "deaf":
            await asyncio.get_running_loop().create_future()
        while True:
            message = await client.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") is not None:
                await client.send_text(f"{client.claims.sub}: {message['text']}")
            else:
                await client.send_bytes(message["bytes"])

    async with served(make(gate, echo)) as port:
        door.url = f"ws://127.0.0.1:{port}/"
        yield door


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """An ASGI application on uvicorn, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve([listening]))
        while not server.started:
            assert not serving.done(), "uvicorn did not start"
            await asyncio.sleep(0.005)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


FRAMEWORKS = ["websockets", "starlette", "fastapi"]

each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
