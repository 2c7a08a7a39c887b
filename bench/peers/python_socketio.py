"""python-socketio as its users write it: the token checked in the connect packet (PyJWT), one room, no store.

python_socketio.py PORT     BENCH_ALGORITHM, BENCH_KEY (a secret, or a public key in PEM)
"""

import os
import sys
from typing import Any

import jwt
import socketio
import uvicorn

ALGORITHM, KEY = os.environ["BENCH_ALGORITHM"], os.environ["BENCH_KEY"]
sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


@sio.event
async def connect(sid: str, _environ: Any, auth: Any) -> None:
    try:
        claims = jwt.decode(auth["token"], KEY, [ALGORITHM], issuer="parley", audience="parley")
    except (jwt.InvalidTokenError, KeyError, TypeError):
        raise socketio.exceptions.ConnectionRefusedError("unauthorized") from None
    await sio.save_session(sid, {"subject": claims["sub"]})
    await sio.enter_room(sid, "r1")


@sio.event
async def msg(sid: str, said: Any) -> None:
    session = await sio.get_session(sid)
    told = {"type": "msg", "from": session["subject"], "room": said["room"], "body": said["body"]}
    await sio.emit("msg", told, room="r1")


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(sio),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
