"""CONTRACT 2, live audio: what one sends many hear, by HTTP and by socket, and no slow one harms another."""

import asyncio

import pytest

from parley.dialects.ogg import Pages, build_page
from tests.here import HereServer, until
from tests.ogg import packet
from tests.streams import audio, get, listen, payloads, publish, put
from tests.transport.streams.scene import (
    HEAD,
    HEADER_PAGES,
    PACKETS,
    PAGES,
    heard,
    made,
    minted,
    on_air,
)
from tests.transport.wire import BINARY, Peer, request_head

pytestmark = pytest.mark.anyio


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
                await until(lambda: server.server.parts.streams.listeners("show") == 2)
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
                await until(lambda: not server.server.parts.streams.lines)
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


class TestWhoListens:
    async def test_a_members_stream_wants_a_token_by_any_carrier(self, server: HereServer) -> None:
        token = await made(server, "show", "members")
        ben = server.token("ben")
        async with put(server, "show", token) as ada:
            await ada.send(HEAD + PAGES[0])
            await on_air(server, "show")
            async with get(server, "show") as nobody:
                assert await nobody.refusal() == (401, "token_missing")
                assert nobody.headers["www-authenticate"].startswith("Bearer")
            async with get(server, "none") as nobody:
                assert await nobody.refusal() == (404, "not_found")
            async with get(server, "show", token=ben) as listener:
                assert await listener.head() == 200
            async with listen(server, "show", ben) as listener:
                await listener.pages(HEADER_PAGES + 1)
            async with listen(server, "show") as listener:
                assert "result" in await listener.ask("session.authenticate", token=ben)
                await listener.pages(HEADER_PAGES + 1)
                assert (await listener.ask("session.describe"))["result"]["subject"] == "ben"
            async with listen(server, "show") as listener:
                assert "error" in await listener.ask("session.describe")
                assert await listener.closed() == (4401, "token_missing")

    async def test_a_bad_credential_is_401_on_a_public_stream_too(self, server: HereServer) -> None:
        await made(server, "show")
        async with get(server, "show", token="nonsense") as listener:
            assert await listener.refusal() == (401, "token_malformed")
        async with get(server, "show", query="?ticket=nonsense") as listener:
            assert await listener.refusal() == (401, "ticket_invalid")
        async with listen(server, "show", "nonsense") as listener:
            assert await listener.closed() == (4401, "token_malformed")

    async def test_a_ticket_is_bound_to_its_first_stream_for_its_time(self, server: HereServer) -> None:
        token = await made(server, "show", "members")
        await made(server, "other", "members")
        async with put(server, "show", token) as ada, put(server, "other", token) as again:
            await ada.send(HEAD + PAGES[0])
            await again.send(HEAD + PAGES[0])
            await on_air(server, "show", "other")
            ticket = await asyncio.to_thread(minted, server, token)
            for _ in range(2):  # media elements ask twice
                async with get(server, "show", "Range: bytes=0-", query=f"?ticket={ticket}") as listener:
                    assert await listener.head() == 200
                    await listener.pages(HEADER_PAGES + 1)
            async with get(server, "other", query=f"?ticket={ticket}") as listener:
                assert await listener.refusal() == (401, "ticket_invalid")
            async with listen(server, "show", query=f"?ticket={ticket}") as listener:
                assert await listener.closed() == (4401, "ticket_invalid")
            for target, what in ((listen, "listen"), (publish, "publish")):
                single = await asyncio.to_thread(minted, server, token)
                async with target(server, "show", query=f"?ticket={single}") as socket:
                    assert what == "listen" or await socket.closed() == (4409, "already_live")

    async def test_a_public_streams_listener_may_show_a_token_later_and_can_ask_nothing_before(
        self, server: HereServer
    ) -> None:
        await made(server, "show")
        async with listen(server, "show") as listener:
            await listener.news()
            refused = await listener.ask("session.describe")
            assert refused["error"]["data"]["code"] == "token_missing"
            assert "result" in await listener.ask("session.authenticate", token=server.token("ben"))
            assert (await listener.ask("session.describe"))["result"]["subject"] == "ben"
            assert (await listener.ask("session.authenticate", token="x"))["error"]["data"]["code"] == "conflict"

    async def test_a_narrowed_token_hears_what_it_grants(self, server: HereServer) -> None:
        token = await made(server, "show")
        await made(server, "other")
        hears = server.token("ben", grants={"stream:show": ["listen"]})
        async with put(server, "show", token) as ada:
            await ada.send(HEAD + PAGES[0])
            await on_air(server, "show")
            async with listen(server, "show", hears) as listener:
                await listener.pages(HEADER_PAGES + 1)
            async with get(server, "other", token=hears) as listener:
                assert await listener.refusal() == (403, "forbidden")
            async with listen(server, "other", hears) as listener:
                assert await listener.closed() == (4403, "forbidden")

    async def test_listeners_are_counted_and_told_of_once_a_second(self, server: HereServer) -> None:
        await made(server, "show")
        async with listen(server, "show") as first:
            await first.news(listeners=0)
            async with listen(server, "show"), listen(server, "show"):
                await first.news(listeners=3)
            await first.news(listeners=1)
            told = [one for one in first.said if one.get("method") == "signal"]
            assert len(told) <= 3

    async def test_the_streams_room_is_told_too(self, server: HereServer) -> None:
        token = await made(server, "show")
        async with server.native(token) as ada:
            await ada.call("room.subscribe", room="s-show")
            async with listen(server, "show"):
                news = await ada.until(lambda one: one.get("params", {}).get("type") == "stream.changed")
        assert news["params"]["room"] == "s-show"
        assert news["params"]["data"]["stream"]["id"] == "show"


class TestASlowListener:
    """It reads nothing while half a megabyte goes by; `LATER` marks what is sent once it reads again."""

    LATER = 256

    @pytest.mark.parametrize("by", ["GET", "socket"])
    async def test_loses_pages_and_is_kept_little_of_the_past(self, server: HereServer, by: str) -> None:
        token = await made(server, "show")
        pages = [*range(25), *range(self.LATER, self.LATER + 100)]
        sent = iter(
            build_page(
                [packet(number, 40 if number >= self.LATER else 20_000)], serial=1, sequence=at, granule=at * 960
            )
            for at, number in enumerate(pages, 2)
        )
        count = HEADER_PAGES
        broadcasts = server.server.parts.streams.broadcasts
        async with put(server, "show", token) as ada, listen(server, "show", max_size=None) as quick:

            async def send_one() -> None:
                nonlocal count
                count += 1
                await ada.send(next(sent).data)
                await quick.pages(count)

            await quick.news()
            await ada.send(HEAD)
            await send_one()
            port = int(server.url.rsplit(":", 1)[1])
            async with await Peer.connect(port, receive_buffer=4096) as slow:
                if by == "GET":
                    await slow.send(b"GET /streams/show HTTP/1.1\r\nHost: localhost\r\n\r\n")
                else:
                    await slow.send(request_head("/streams/show/listen"))
                await slow.read_head()
                await until(lambda: server.server.parts.streams.listeners("show") == 2)
                before = broadcasts.pages_passed_over
                for _ in range(24):
                    await send_one()
                assert broadcasts.pages_passed_over > before + 10
                reading = asyncio.ensure_future(self.read_until_later(slow))
                while not reading.done():
                    await send_one()
                raw = await reading
                found = Pages().feed(unchunked(raw) if by == "GET" else unframed(raw))
            numbers = [int.from_bytes(one[1:5], "big") for one in payloads(found[HEADER_PAGES:])]
            kept = [number for number in numbers if number < self.LATER]
            assert kept == list(range(len(kept))), "whole pages, in order"
            assert len(kept) < 15, "no more than the buffers of the two ends hold"
            later = numbers[len(kept) :]
            assert later == list(range(later[0], later[0] + len(later))), "and then all that is new"

    async def read_until_later(self, peer: Peer) -> bytes:
        mark = packet(self.LATER)[:4]
        while mark not in peer._bytes and await peer._more():
            pass
        return peer._bytes


def unchunked(raw: bytes) -> bytes:
    """The whole chunks at the beginning of a body, as one."""
    found = b""
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        if not size or len(rest) < int(size, 16):
            break
        found, raw = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found


def unframed(raw: bytes) -> bytes:
    """The whole binary messages of a socket, as one."""
    found = b""
    while len(raw) >= 4:
        size, start = raw[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(raw[2:start], "big")
        if len(raw) < start + size:
            break
        found += raw[start : start + size] if raw[0] == BINARY else b""
        raw = raw[start + size :]
    return found
