"""CONTRACT 2, live audio: one broadcaster at a time, who sends Ogg Opus at its own pace."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parley.dialects.ogg import Pages, build_page
from parley.domain import leases
from tests.here import HereServer, until
from tests.ogg import HEAD as OGG_HEAD
from tests.ogg import joined, link
from tests.stage import somebody
from tests.streams import audio, get, listen, payloads, publish, put
from tests.transport.streams.scene import (
    HEAD,
    HEADER_PAGES,
    PACKETS,
    PAGES,
    heard,
    made,
    on_air,
    past_the_grace,
    sent_both_ways,
)

pytestmark = pytest.mark.anyio


class TestTheLease:
    async def test_a_second_one_is_refused_before_its_audio_is_read(self, server: HereServer) -> None:
        token = await made(server)
        admin = server.token("root", roles=("admin",))
        async with put(server, "show", token) as ada:
            await ada.send(HEAD)
            await until(lambda: server.server.parts.streams.broadcasters == 1)
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
            await until(lambda: server.server.parts.streams.broadcasters == 1)
            async with get(server, "show") as listener:
                assert await listener.head() == 200
                await listener.pages(HEADER_PAGES + 1)
                ada.cut()
                await until(lambda: server.server.parts.streams.broadcasters == 0)
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

    async def test_a_line_that_broke_and_the_next_one_may_arrive_together(self, server: HereServer) -> None:
        token = await made(server)
        lines = [(put, publish)[n % 2] for n in range(6)]
        async with listen(server, "show") as listener:
            await listener.news()
            for number, way in enumerate(lines, 1):
                async with way(server, "show", token) as ada:
                    await ada.send(HEAD + PAGES[number])
                    await listener.pages(HEADER_PAGES + number)
                    ada.cut()  # and at once the next
        assert payloads(Pages().feed(listener.heard)[HEADER_PAGES:]) == PACKETS[1:7]

    async def test_who_was_on_another_node_meanwhile_is_heard_with_new_headers(self, server: HereServer) -> None:
        """What went on there is not known here: the old line's numbers would go back."""
        token = await made(server)
        ada = somebody("ada", session="sid-ada")
        async with listen(server, "show") as listener:
            await listener.news()
            async with publish(server, "show", token) as here:
                await here.news(live=True)
                await here.send(HEAD + PAGES[0])
                await listener.pages(HEADER_PAGES + 1)
                here.cut()
                await until(lambda: not server.server.parts.streams.broadcasters)
            elsewhere = await asyncio.to_thread(server.store.execute, leases.Take("show"), ada)
            await asyncio.to_thread(server.store.execute, leases.Cut("show", elsewhere.reply.fence))
            async with publish(server, "show", token) as here:
                await here.news(live=True)
                await here.send(HEAD + PAGES[1])
                found = await listener.pages(2 * HEADER_PAGES + 2)
                assert [page.bos for page in found] == [True, False, False, True, False, False]
                assert found[0].serial != found[3].serial


class TestWhatIsSent:
    @pytest.mark.parametrize(
        "body",
        [
            b"RIFF" + bytes(2_000_000),
            b"<html>" * 400_000,
            build_page([b"\x01vorbis" + bytes(22)], serial=1, sequence=0, granule=0, bos=True).data,
        ],
        ids=["zeros", "text", "another codec"],
    )
    async def test_not_ogg_opus(self, server: HereServer, body: bytes) -> None:
        token = await made(server, "show")
        async with put(server, "show", token) as ada:
            with suppress(ConnectionError):
                for start in range(0, len(body), 60_000):
                    await ada.send(body[start : start + 60_000])
            assert await ada.refusal() == (415, "not_ogg_opus")
        async with publish(server, "show", token) as ada:
            await ada.news(live=True)
            with suppress(ConnectionClosed):
                for start in range(0, len(body), 60_000):
                    await ada.send(body[start : start + 60_000])
            assert await ada.closed() == (4400, "not_ogg_opus")

    @pytest.mark.parametrize("body", [b"", HEAD[:30], b"OggS"], ids=["nothing", "a piece of a page", "a capture"])
    async def test_not_so_much_as_a_page(self, server: HereServer, body: bytes) -> None:
        token = await made(server, "show")
        async with put(server, "show", token) as ada:
            if body:
                await ada.send(body)
            await ada.finish()
            assert await ada.refusal() == (415, "not_ogg_opus")

    async def test_more_than_10_s_ahead_of_real_time(self, moving: HereServer) -> None:
        server = moving
        token = await made(server, "show")
        head, pages = audio(101, packets=5)
        async with put(server, "show", token) as ada:
            await ada.send(head + b"".join(pages[:99]))
            await on_air(server, "show")
            assert server.server.parts.streams.broadcasters == 1, "9.9 s ahead is no more than may be"
            await ada.send(b"".join(pages))
            assert await ada.refusal() == (429, "rate_limited")
            assert "retry-after" in ada.headers
        await past_the_grace(server)
        async with publish(server, "show", token) as ada:
            await ada.news(live=True)
            await ada.send(head + b"".join(pages))
            assert await ada.closed() == (4429, "rate_limited")

    async def test_nothing_for_10_s(self, moving: HereServer) -> None:
        server = moving
        async with sent_both_ways(server) as (_, ada, again):
            async with listen(server, "show") as listener:
                await listener.pages(HEADER_PAGES + 1)
            server.move(5)
            assert server.server.parts.streams.broadcasters == 2
            server.move(6)
            assert await ada.refusal() == (408, "stalled")
            assert await again.closed() == (4408, "stalled")
        async with put(server, "show", server.token("root", roles=("admin",))) as other:
            assert await other.refusal() == (409, "already_live"), "the network may have stalled it"

    async def test_a_torn_page_costs_itself_and_no_more(self, server: HereServer) -> None:
        token = await made(server, "show")
        async with put(server, "show", token) as ada, listen(server, "show") as listener:
            await listener.news()
            torn = bytearray(PAGES[1])
            torn[-1] ^= 1
            await ada.send(HEAD + PAGES[0] + bytes(torn) + PAGES[2][:-9] + b"junk" + PAGES[3])
            found = heard(await listener.pages(HEADER_PAGES + 2))
            assert found == [PACKETS[0], PACKETS[3]]
            await ada.finish()
            assert await ada.head() == 204

    async def test_another_link_of_the_same_form_goes_on_and_one_of_another_form_begins_anew(
        self, server: HereServer
    ) -> None:
        token = await made(server, "show")
        stereo = link(2, serial=7)
        stereo[0] = build_page([replace(OGG_HEAD, channels=2).packet()], serial=7, sequence=0, granule=0, bos=True)
        async with put(server, "show", token) as ada, listen(server, "show") as listener:
            await listener.news()
            for each in (link(2, serial=5), link(2, serial=6), stereo):
                await ada.send(joined(each))
            found = await listener.pages(2 * HEADER_PAGES + 6)
            assert [page.bos for page in found].count(True) == 2
            assert [page.sequence for page in found] == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
            assert [page.granule for page in found[2:6]] == [960, 1920, 2880, 3840]
