"""CONTRACT 2, live audio by HTTP and by socket: who may, what is heard, and how it ends."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from parley.dialects.ogg import parse_page
from tests.here import HereServer, serving, until
from tests.streams import audio, get, listen, payloads, publish, put

pytestmark = pytest.mark.anyio

HEAD, PAGES = audio(40)
PACKETS = payloads([parse_page(page) for page in PAGES])
HEADER_PAGES = 2


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    async with serving(tmp_path / "data") as server:
        yield server


async def made(server: HereServer, stream: str = "show", visibility: str = "public", owner: str = "ada") -> str:
    """A stream of ada's, and her token."""
    token = server.token(owner)
    async with server.native(token) as ada:
        await ada.call("stream.create", stream=stream, visibility=visibility)
    return token


def heard(pages: list[Any]) -> list[bytes]:
    return payloads(page for page in pages[HEADER_PAGES:])


class TestFromOneToMany:
    async def test_what_is_put_is_heard_by_those_who_get_it_and_by_sockets(self, server: HereServer) -> None:
        token = await made(server)
        async with put(server, "show", token) as ada, listen(server, "show") as socket:
            await socket.news()
            await ada.send(HEAD + PAGES[0])
            await socket.pages(HEADER_PAGES + 1)
            async with get(server, "show") as listener:
                assert await listener.head() == 200
                assert listener.headers["content-type"] == "audio/ogg"
                assert listener.headers["transfer-encoding"] == "chunked"
                await until(lambda: server.server.streams.listeners("show") == 2)
                for page in PAGES[1:10]:
                    await ada.send(page)
                assert heard(await listener.pages(HEADER_PAGES + 10)) == PACKETS[:10]
                assert heard(await socket.pages(HEADER_PAGES + 10)) == PACKETS[:10]
                await ada.finish()
                assert await ada.head() == 204
                await listener.to_the_end()
            assert (await socket.news(live=False))["broadcaster"] is None

    async def test_a_socket_publishes_and_the_listener_hears_the_next_broadcast_too(self, server: HereServer) -> None:
        token = await made(server)
        async with listen(server, "show") as socket:
            assert await socket.news(live=False, listeners=0)
            for serial in (1, 2):
                head, pages = audio(3, serial=serial)
                async with publish(server, "show", token) as ada:
                    await ada.news(live=True)
                    await ada.send(head)
                    for page in pages:
                        await ada.send(page)
                    await socket.pages(HEADER_PAGES + 3)
                await socket.news(live=False)
                first, *_ = await socket.pages(HEADER_PAGES + 3)
                assert first.bos, "header pages first"
                socket.heard = b""

    async def test_a_late_listener_gets_the_headers_and_then_the_newest_page(self, server: HereServer) -> None:
        token = await made(server)
        async with put(server, "show", token) as ada:
            async with listen(server, "show") as early:
                await early.news()
                await ada.send(HEAD + b"".join(PAGES[:20]))
                await early.pages(HEADER_PAGES + 20)
            async with get(server, "show") as listener, listen(server, "show") as socket:
                await listener.head()
                assert heard(await listener.pages(HEADER_PAGES + 1)) == PACKETS[19:20]
                await socket.pages(HEADER_PAGES + 1)
                await ada.send(PAGES[20])
                assert heard(await listener.pages(HEADER_PAGES + 2)) == PACKETS[19:21]
                assert heard(await socket.pages(HEADER_PAGES + 2)) == PACKETS[19:21]

    async def test_nobody_on_the_air_is_503_with_a_time_to_come_back(self, server: HereServer) -> None:
        await made(server)
        async with get(server, "show") as listener:
            assert await listener.refusal() == (503, "not_live")
            assert int(listener.headers["retry-after"]) > 0


class TestTheLease:
    async def test_a_second_one_is_refused_before_its_audio_is_read(self, server: HereServer) -> None:
        token = await made(server)
        admin = server.token("root", roles=("admin",))
        async with put(server, "show", token) as ada:
            await ada.send(HEAD)
            await until(lambda: server.server.streams.broadcasters == 1)
            for other in (token, admin):
                async with put(server, "show", other) as second:
                    assert await second.refusal() == (409, "already_live")
                async with publish(server, "show", other) as second:
                    assert await second.closed() == (4409, "already_live")
            await ada.send(PAGES[0])
            await ada.finish()
            assert await ada.head() == 204

    async def test_who_may_not_broadcast_is_refused(self, server: HereServer) -> None:
        await made(server)
        async with put(server, "show", server.token("ben")) as ben:
            assert await ben.refusal() == (403, "forbidden")
        async with publish(server, "show", server.token("ben")) as ben:
            assert await ben.closed() == (4403, "forbidden")
        async with put(server, "none", server.token("ben")) as ben:
            assert await ben.refusal() == (404, "not_found")
        async with put(server, "show", None) as nobody:
            assert await nobody.refusal() == (401, "token_missing")
        with pytest.raises(InvalidStatus) as refused:
            async with publish(server, "none", server.token("ben")):
                pass
        assert refused.value.response.status_code == 404

    async def test_the_same_session_takes_its_own_place_back_and_listeners_hear_a_gap(self, server: HereServer) -> None:
        token = await made(server)
        async with put(server, "show", token) as ada:
            await ada.send(HEAD + PAGES[0])
            await until(lambda: server.server.streams.broadcasters == 1)
            async with get(server, "show") as listener:
                assert await listener.head() == 200
                await listener.pages(HEADER_PAGES + 1)
                ada.cut()
                await until(lambda: server.server.streams.broadcasters == 0)
                async with put(server, "show", server.token("root", roles=("admin",))) as other:
                    assert await other.refusal() == (409, "already_live")
                head, pages = audio(3, serial=9)
                async with publish(server, "show", token) as again:
                    await again.news(live=True)
                    await again.send(head + pages[0])
                    found = await listener.pages(HEADER_PAGES + 2)
                    assert [page.sequence for page in found] == [0, 1, 2, 3], "one stream goes on"
                    assert len({page.serial for page in found}) == 1
                    assert found[2].granule < found[3].granule
