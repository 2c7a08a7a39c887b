"""A chat on Starlette: `uvicorn starlette_chat:app`."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from parley.tokens import KeySet, Verifier
from parley.tokens.adapters.starlette import StarletteGate, TokenWebSocket

gate = StarletteGate(Verifier(KeySet.from_jwks(Path("jwks.json").read_text())), subprotocols=["chat.v1"])


async def chat(socket: TokenWebSocket) -> None:
    async for text in socket.iter_text():
        await socket.send_text(f"{socket.claims.sub}: {text}")


async def me(request) -> JSONResponse:
    return JSONResponse({"subject": (await gate.claims(request)).sub})


app = Starlette(routes=[WebSocketRoute("/", gate.websocket(chat)), Route("/me", me)])
gate.install(app)
