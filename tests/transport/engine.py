"""Scenes of Engine.IO on real sockets: who echoes, who polls, who has a WebSocket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.interop.conformance import Application
from tests.transport.http_wire import Answer, PolledSession
from tests.transport.wire import (
    TEXT,
    Peer,
    Server,
    listening,
    run,
)

ECHO = "/engine.io/?EIO=4&transport="
CALM = {"ping_interval_s": 60, "ping_timeout_s": 60}

Scene = Callable[[Server, Application], Awaitable[None]]


def played(scene: Scene, **times: float) -> None:
    async def play() -> None:
        application = Application(**{**CALM, **times})
        async with listening(application.decide, app=application.app) as server:
            await scene(server, application)
            for engine in application.engines.values():
                for session in list(engine.sessions.values()):
                    session.abort()

    run(play(), 60)


@asynccontextmanager
async def over_socket(server: Server, path: str = ECHO + "websocket") -> AsyncIterator[Peer]:
    async with await Peer.upgraded(server.port, path) as peer:
        yield peer


async def next_text(peer: Peer) -> bytes:
    first, payload = await peer.frame()
    assert first == TEXT
    return payload


async def waiting(session: PolledSession, application: Application) -> "asyncio.Task[Answer]":
    """A poll that has arrived."""
    live = application.engines["/engine.io/"].sessions[session.opened["sid"]]
    polling = session.polling()
    while not live._http.has_poll and not polling.done():
        await asyncio.sleep(0)
    return polling
