"""A chat on python-socketio: `uvicorn socketio_chat:app`."""

from pathlib import Path
from typing import Any

import socketio

from parley.tokens import KeySet, Verifier
from parley.tokens.adapters.socketio import SocketIOGate

sio = socketio.AsyncServer(async_mode="asgi")
gate = SocketIOGate(sio, Verifier(KeySet.from_jwks(Path("jwks.json").read_text())))
app = socketio.ASGIApp(sio)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
    await gate.connect(sid, environ, auth)


@sio.event
async def say(sid: str, text: str) -> None:
    await sio.emit("said", f"{gate.claims(sid).sub}: {text}")
