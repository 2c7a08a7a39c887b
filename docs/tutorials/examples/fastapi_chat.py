"""The same on FastAPI: `uvicorn fastapi_chat:app`."""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI

from parley.tokens import AccessClaims, KeySet, Verifier
from parley.tokens.adapters.starlette import StarletteGate, TokenWebSocket

app = FastAPI()
gate = StarletteGate(Verifier(KeySet.from_jwks(Path("jwks.json").read_text())), subprotocols=["chat.v1"])
gate.install(app)


@app.websocket("/")
@gate.websocket
async def chat(socket: TokenWebSocket) -> None:
    async for text in socket.iter_text():
        await socket.send_text(f"{socket.claims.sub}: {text}")


@app.get("/me")
async def me(claims: Annotated[AccessClaims, Depends(gate.claims)]) -> dict[str, str]:
    return {"subject": claims.sub}
