"""The upgrade of an Engine.IO session: a WebSocket is tried, taken or dropped, and nothing is lost on the way."""

import asyncio

import pytest

from parley.dialects import engineio
from parley.dialects.engineio import State
from parley.transport import candidate
from parley.transport.frames import frame_binary, frame_text
from tests.interop.conformance import Application, EngineEcho
from tests.transport.engine import CALM, next_text, over_socket, played, waiting
from tests.transport.http_wire import PolledSession
from tests.transport.wire import (
    BINARY,
    TEXT,
    Server,
    listening,
    masked,
    run,
)


def test_an_upgrade_is_probed_the_poll_ends_and_all_goes_on_there() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session, over_socket(server, session.socket_path) as peer:
            polling = await waiting(session, application)
            await peer.send(masked(TEXT, b"2probe"))
            assert await next_text(peer) == b"3probe"
            assert (await polling).text == "6"
            assert (await session.poll()).text == "6"
            await peer.send(masked(TEXT, b"5") + masked(TEXT, b"4hello"))
            assert await next_text(peer) == b"4hello"
            assert await session.is_over()
            async with over_socket(server, session.socket_path) as second:
                assert await second.close_code() == 4400
            await peer.send(masked(TEXT, b"4still here"))
            assert await next_text(peer) == b"4still here"

    played(scene)


@pytest.mark.parametrize("said", [b"4hello", b"5", b"2", b"1", b"", None])
def test_a_candidate_that_says_anything_else_or_goes_is_dropped_and_the_session_polls_on(said: bytes | None) -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            async with over_socket(server, session.socket_path) as peer:
                if said is not None:
                    await peer.send(masked(TEXT, said))
                    assert await peer.close_code() == 1000
            (live,) = application.engines["/engine.io/"].sessions.values()
            while live.state is not State.POLLING:
                await asyncio.sleep(0)
            await session.post(b"4hello")
            assert (await session.poll()).text == "4hello"

    played(scene)


def test_there_is_one_candidate_at_once() -> None:
    async def scene(server: Server, _: Application) -> None:
        async with await PolledSession.open(server.port) as session, over_socket(server, session.socket_path) as peer:
            async with over_socket(server, session.socket_path) as second:
                assert await second.close_code() == 4400
            await peer.send(masked(TEXT, b"2probe"))
            assert await next_text(peer) == b"3probe"

    played(scene)


@pytest.mark.parametrize("said", [masked(TEXT, b"2probe"), b""], ids=["probed", "silent"])
def test_a_candidate_has_its_time(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "UPGRADE_TIMEOUT_S", 0.1)

    async def scene(server: Server, _: Application) -> None:
        async with await PolledSession.open(server.port) as session, over_socket(server, session.socket_path) as peer:
            await peer.send(said)
            assert await peer.close_code() == 1000
            await session.post(b"4hello")
            assert (await session.poll()).text == "4hello"

    played(scene)


class Counting(EngineEcho):
    """Counts without a pause, from the first message on: "4n" for n = 0, 1, 2, …"""

    def text(self, data: bytes, /) -> None:
        self.number, self.last = 0, int(data)
        self.step()

    def step(self) -> None:
        for _ in range(3):
            if self.number < self.last:
                frame = frame_text(b"4%d" % self.number)
                self.session.write(frame if self.number % 7 else frame_binary(b"%d" % self.number))
                self.number += 1
        if self.number < self.last:
            asyncio.get_running_loop().call_soon(self.step)


@pytest.mark.parametrize("polls", range(8))
def test_nothing_is_lost_or_reordered_over_an_upgrade(polls: int) -> None:
    """Protocol: "pause the HTTP long-polling transport …, to ensure that no packet gets lost"."""

    async def play() -> None:
        application = Application({"/engine.io/": Counting}, **CALM)
        async with listening(application.decide, app=application.app) as server:
            async with await PolledSession.open(server.port) as session:
                got: list[bytes] = []

                async def poll() -> None:
                    packets = engineio.decode_payload((await session.poll()).body)
                    got.extend(packet.data for packet in packets if packet.kind == engineio.MESSAGE)

                await session.post(b"4600")
                for _ in range(polls):
                    await poll()
                polling = asyncio.ensure_future(poll())
                async with over_socket(server, session.socket_path) as peer:
                    await peer.send(masked(TEXT, b"2probe"))
                    assert await next_text(peer) == b"3probe"
                    await polling
                    await peer.send(masked(TEXT, b"5"))
                    while len(got) < 600:
                        first, payload = await peer.frame()
                        got.append(payload if first == BINARY else payload[1:])
                assert got == [b"%d" % number for number in range(600)]
            for live in list(application.engines["/engine.io/"].sessions.values()):
                live.abort()

    run(play())
