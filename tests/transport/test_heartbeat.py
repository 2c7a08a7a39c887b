"""The pings of Engine.IO: who answers lives on, over either transport, and who does not is let go."""

import asyncio

from tests.interop.conformance import Application
from tests.transport.engine import next_text, over_socket, played
from tests.transport.http_wire import PolledSession, request
from tests.transport.wire import (
    TEXT,
    Server,
    masked,
)


def test_pings_are_answered_and_the_session_lives_over_http_and_on_a_websocket() -> None:
    async def scene(server: Server, _: Application) -> None:
        async with await PolledSession.open(server.port) as session, over_socket(server) as peer:
            await next_text(peer)
            for _round in range(3):
                assert (await session.poll()).text == "2"
                assert (await session.post(b"3")).text == "ok"
                assert await next_text(peer) == b"2"
                await peer.send(masked(TEXT, b"3"))

    played(scene, ping_interval_s=0.05, ping_timeout_s=5)


def test_who_does_not_answer_is_gone_in_time() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session, over_socket(server) as peer:
            await next_text(peer)
            polling = session.polling()
            assert (await polling).text == "2"
            assert (await session.poll()).text == "6"
            assert await next_text(peer) == b"2"
            assert await peer.close_code() == 1001
            assert not application.engines["/engine.io/"].sessions

    # Whoever polls again is to be heard before the end, also on a machine that stands still for a moment.
    played(scene, ping_interval_s=0.1, ping_timeout_s=0.6)


def test_a_pong_that_nothing_asked_for_or_that_was_not_polled_keeps_nobody_alive() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            for _ in range(10):
                await session.posts.send(request("POST", session.query, b"3"))
                if (await session.posts.answer()).status == 400:
                    break
                await asyncio.sleep(0.05)
            assert await session.is_over()

    played(scene, ping_interval_s=0.1, ping_timeout_s=0.1)
