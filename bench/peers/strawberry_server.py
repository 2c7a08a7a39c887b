"""Strawberry's own ASGI server, doing what Parley's GraphQL does in the benchmark: one room, its events to everybody.

python strawberry_server.py PORT; `BENCH_KEY` is the HS256 secret of the tokens. Stores nothing.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import jwt
import strawberry
import uvicorn
from strawberry.asgi import GraphQL
from strawberry.scalars import JSON

_waiting: set[asyncio.Queue[Any]] = set()
_seq = 0


@strawberry.type
class Person:
    subject: str
    name: str
    type: str


@strawberry.type
class Event:
    room: strawberry.ID
    seq: int
    type: str
    at: str
    actor: Person
    data: JSON


@strawberry.type
class Query:
    @strawberry.field
    def room(self) -> str:
        return "room-0"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def send_message(self, room: strawberry.ID, text: str) -> bool:
        global _seq
        _seq += 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        sender = {"subject": "bench-0", "name": "bench-0", "type": "account"}
        message = {"id": f"{_seq:036d}", "room": room, "seq": _seq, "text": text, "sender": sender, "at": at}
        event = Event(
            room=room, seq=_seq, type="message.created", at=at, actor=Person(**sender), data={"message": message}
        )
        for queue in _waiting:
            queue.put_nowait(event)
        return True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def room_events(self, room: strawberry.ID) -> AsyncGenerator[Event, None]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        _waiting.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            _waiting.discard(queue)


class Server(GraphQL):  # type: ignore[type-arg]
    async def on_ws_connect(self, context: Any) -> Any:
        token = context["request"].headers["authorization"].removeprefix("Bearer ")
        jwt.decode(token, os.environ["BENCH_KEY"], algorithms=["HS256"], audience="parley")
        return await super().on_ws_connect(context)


if __name__ == "__main__":
    app = Server(strawberry.Schema(Query, Mutation, Subscription))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, loop="uvloop")
