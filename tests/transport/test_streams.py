"""CONTRACT 2, live audio by HTTP and by socket: who may, what is heard, and how it ends."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parley.dialects.ogg import Pages, build_page, parse_page
from parley.domain import leases
from tests.here import HereServer, serving, until
from tests.ogg import HEAD as OGG_HEAD
from tests.ogg import joined, link, packet
from tests.stage import somebody
from tests.streams import HttpStream, audio, get, listen, payloads, publish, put, request, unfenced
from tests.transport.wire import BINARY, Peer, request_head

pytestmark = pytest.mark.anyio

HEAD, PAGES = audio(40)
PACKETS = payloads([parse_page(page) for page in PAGES])
HEADER_PAGES = 2


@pytest.fixture(scope="module", autouse=True)
def every_page() -> Iterator[None]:
    with unfenced():
        yield


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HereServer]:
    async with serving(tmp_path_factory.mktemp("streams") / "data", limits__ping_interval=0) as server:
        yield server


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[HereServer]:
    """One of its own, for those who move its clock: its timers would come late to the next test."""
    settings = {"limits__ping_interval": 0, "auth__access_ttl": 30}
    async with serving(tmp_path / "data", demo=True, **settings) as server:
        yield server


@pytest.fixture
async def server(running: HereServer) -> AsyncIterator[HereServer]:
    yield running
    await cleared(running)


async def cleared(server: HereServer) -> None:
    """For the next test: no stream, and nobody on the air."""
    async with server.native(server.token("root", roles=("admin",))) as root:
        for stream in (await root.call("stream.list"))["streams"]:
            await root.call("stream.delete", stream=stream["id"])
    await until(
        lambda: not server.server.parts.streams.broadcasters and not server.server.parts.streams.broadcasts.fences()
    )


async def made(server: HereServer, stream: str = "show", visibility: str = "public", owner: str = "ada") -> str:
    """A stream of ada's, and her token."""
    token = server.token(owner)
    async with server.native(token) as ada:
        await ada.call("stream.create", stream=stream, visibility=visibility)
    return token


async def on_air(server: HereServer, *streams: str) -> None:
    """Until what was put there is heard."""
    here = server.server.parts.streams
    await until(lambda: all(stream in here.lines and here.broadcasts_of(stream) for stream in streams))


async def moved(server: HereServer, seconds: float) -> None:
    """Let time pass, and let the node speak with its store again: until then it hands out nothing."""
    server.move(seconds)
    here, connections = server.server.parts.streams, server.server.parts.connections
    await until(lambda: not connections.is_fenced and here.clock_s() - here.kept_at_s() < 4)


async def past_the_grace(server: HereServer) -> None:
    await moved(server, 10.5)


async def paced(server: HereServer, ada: HttpStream, seconds: float) -> None:
    """Let time pass while ada goes on sending."""
    here = server.server.parts.streams
    while seconds > 0:
        await moved(server, min(seconds, 8))
        seconds -= 8
        before = sum(each.position_s for each in here.all())
        with suppress(ConnectionError):
            await ada.send(PAGES[0])
        await until(lambda before=before: not here.all() or sum(each.position_s for each in here.all()) > before)  # type: ignore[misc]


def heard(pages: list[Any]) -> list[bytes]:
    return payloads(page for page in pages[HEADER_PAGES:])


def asked(server: HereServer, path: str, body: Any, token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(
        urllib.request.Request(server.url + path, json.dumps(body).encode(), headers), timeout=10
    ) as answer:
        return json.loads(answer.read())


def minted(server: HereServer, token: str) -> str:
    ticket: str = asked(server, "/auth/tickets", {}, token)["ticket"]
    return ticket


def signed_in(server: HereServer, name: str) -> str:
    token: str = asked(server, "/auth/login", {"username": name, "password": name})["access_token"]
    return token


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


class TestCut:
    """At once, with the reason; the tests would time out long before the poll's or the grace's time."""

    async def test_by_stream_stop(self, server: HereServer) -> None:
        token = await made(server, "show")
        await made(server, "other")
        async with put(server, "show", token) as ada, publish(server, "other", token) as again:
            await ada.send(HEAD + PAGES[0])
            await again.news(live=True)
            await on_air(server, "show")
            async with get(server, "show") as listener, server.native(token) as desk:
                await listener.head()
                began = asyncio.get_running_loop().time()
                await desk.call("stream.stop", stream="show")
                await desk.call("stream.stop", stream="other")
                assert await ada.refusal() == (403, "stopped")
                assert await again.closed() == (4403, "stopped")
                closing = await again.message(lambda one: one.get("method") == "session.closing")
                assert closing["params"] == {"code": 4403, "reason": "stopped", "reconnect": False}
                await listener.to_the_end()
                assert asyncio.get_running_loop().time() - began < 2.5, "at once, on the busiest machine"
            async with put(server, "show", token) as ada:  # it is free again
                await ada.send(HEAD)
                await on_air(server, "show")

    async def test_by_revoking_the_session(self, server: HereServer) -> None:
        token = await made(server, "show")
        await made(server, "other")
        async with put(server, "show", token) as ada, publish(server, "other", token) as again:
            await ada.send(HEAD + PAGES[0])
            await again.news(live=True)
            await on_air(server, "show")
            async with listen(server, "show", token) as listener, get(server, "other", token=token) as hears:
                await listener.pages(HEADER_PAGES + 1)
                await hears.head()
                async with server.native(server.token("root", roles=("admin",))) as root:
                    await root.call("session.revoke", subject="ada", reason="gone home")
                assert await ada.refusal() == (401, "token_revoked")
                assert await again.closed() == (4403, "gone home")
                assert await listener.closed() == (4403, "gone home")
                await hears.to_the_end()
            assert not server.server.parts.streams.broadcasters
            async with put(server, "show", token) as ada:
                assert await ada.refusal() == (401, "token_revoked")

    async def test_by_losing_the_right(self, server: HereServer) -> None:
        token = await made(server, "show")
        await made(server, "other")
        ben = server.token("ben")
        async with server.native(token) as ada:
            for stream in ("show", "other"):
                await ada.call("stream.set_publishers", stream=stream, subjects=["ben"])
            async with put(server, "show", ben) as puts, publish(server, "other", ben) as publishes:
                await puts.send(HEAD + PAGES[0])
                await publishes.news(live=True)
                await on_air(server, "show")
                for stream in ("show", "other"):
                    await ada.call("stream.set_publishers", stream=stream, subjects=["cy"])
                assert await puts.refusal() == (403, "forbidden")
                assert await publishes.closed() == (4403, "forbidden")

    async def test_by_disabling_the_account_or_taking_its_role(self, server: HereServer) -> None:
        await made(server, "show")
        root = server.token("root", roles=("admin",))
        async with server.native(root) as desk:
            account = (await desk.call("account.create", username="dj", password="dj", roles=["admin"]))["account"]
            dj = server.token(account["id"], roles=("admin",))
            async with put(server, "show", dj) as broadcaster:
                await broadcaster.send(HEAD)
                await on_air(server, "show")
                await desk.call("account.set_roles", account=account["id"], roles=["member"])
                assert await broadcaster.refusal() == (403, "forbidden")
            await desk.call("account.set_roles", account=account["id"], roles=["admin"])
            async with publish(server, "show", server.token(account["id"], roles=("admin",))) as broadcaster:
                await broadcaster.news(live=True)
                await desk.call("account.disable", account=account["id"])
                code, reason = await broadcaster.closed()
                assert (code, reason) == (4403, "revoked")

    async def test_by_another_who_has_the_lease_though_no_news_of_it_came(self, server: HereServer) -> None:
        token = await made(server, "show")
        async with put(server, "show", token) as ada:
            await ada.send(HEAD + PAGES[0])
            await on_air(server, "show")
            (here,) = server.server.parts.streams.broadcasts_of("show")
            here.fence -= 1  # what it holds is of before, as if this node had slept
            here._keep()
            assert await ada.refusal() == (409, "already_live")

    async def test_by_deleting_the_stream(self, server: HereServer) -> None:
        token = await made(server, "show")
        async with put(server, "show", token) as ada, listen(server, "show") as listener:
            await ada.send(HEAD)
            await on_air(server, "show")
            await listener.news()
            async with server.native(token) as desk:
                await desk.call("stream.delete", stream="show")
            assert await ada.refusal() == (403, "stopped")
            assert await listener.closed() == (4403, "stopped")

    async def test_by_the_end_of_the_grace(self, moving: HereServer) -> None:
        server = moving
        token = await made(server, "show")
        async with put(server, "show", token) as ada:
            await ada.send(HEAD + PAGES[0])
            await on_air(server, "show")
            async with get(server, "show") as listener:
                await listener.head()
                ada.cut()
                await until(lambda: not server.server.parts.streams.broadcasters)
                await asyncio.sleep(0)
                assert not listener.reader.at_eof()
                await past_the_grace(server)
                await listener.to_the_end()
        async with put(server, "show", server.token("root", roles=("admin",))) as other:
            await other.send(HEAD)
            await on_air(server, "show")

    async def test_a_clean_close_ends_it_at_once_another_is_a_cut(self, server: HereServer) -> None:
        token = await made(server, "show")
        async with server.native(token) as desk:
            for code, live in ((1000, False), (1001, True)):
                async with publish(server, "show", token) as ada:
                    await ada.news(live=True)
                    await ada.socket.close(code)
                await until(lambda: not server.server.parts.streams.broadcasters)
                # Behind what the close led to, in the store's order.
                assert (await desk.call("stream.set_publishers", stream="show", subjects=[]))["stream"]["live"] is live

    async def test_a_drain_says_so_and_keeps_the_place(self, tmp_path: Path) -> None:
        async with serving(tmp_path / "data") as server:
            token = await made(server, "show")
            await made(server, "other")
            async with put(server, "show", token) as ada, publish(server, "other", token) as again:
                await ada.send(HEAD + PAGES[0])
                await again.news(live=True)
                await on_air(server, "show")
                async with get(server, "show") as listener, listen(server, "show") as socket:
                    await listener.head()
                    await socket.news()
                    server.server.stop()
                    assert await ada.refusal() == (503, "unavailable")
                    assert await again.closed() == (1012, "restarting")
                    assert await socket.closed() == (1012, "restarting")
                    await listener.to_the_end()
        async with serving(tmp_path / "data") as server:
            for stream in ("show", "other"):
                async with put(server, stream, server.token("root", roles=("admin",))) as other:
                    assert await other.refusal() == (409, "already_live")
            async with publish(server, "show", server.token("ada")) as ada:
                await ada.news(live=True)


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
        token = await made(server, "show")
        await made(server, "other")
        async with put(server, "show", token) as ada, publish(server, "other", token) as again:
            await ada.send(HEAD + PAGES[0])
            await again.news(live=True)
            await on_air(server, "show")
            async with listen(server, "show") as listener:
                await listener.pages(HEADER_PAGES + 1)
            server.move(9.5)
            assert server.server.parts.streams.broadcasters == 2
            server.move(1)
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


class TestATokensLife:
    async def test_on_a_listening_socket(self, moving: HereServer) -> None:
        server = moving
        await made(server, "show", "members")
        async with listen(server, "show", server.token("ben", ttl_s=60)) as listener:
            await listener.news()
            await moved(server, 35)
            await listener.message(lambda one: one.get("method") == "session.expiring")
            await moved(server, 30)
            async with put(server, "show", server.token("root", roles=("admin",))) as ada:
                await ada.send(HEAD + PAGES[0])
                await on_air(server, "show")
                refused = await listener.ask("session.describe")
                assert refused["error"]["data"]["code"] == "token_expired"
                assert listener.heard == b"", "held: no page is handed over"
                assert "result" in await listener.ask("session.refresh", token=server.token("ben", ttl_s=60))
                await ada.send(PAGES[1])
                assert heard(await listener.pages(HEADER_PAGES + 1)) == PACKETS[1:2], "what was missed is gone"
            await moved(server, 61)
            await moved(server, 26)
            assert await listener.closed() == (4401, "token_expired")

    async def test_on_a_publishing_socket_pages_stop_and_the_place_is_kept(self, moving: HereServer) -> None:
        server = moving
        await made(server, "show")
        async with publish(server, "show", server.token("ada", ttl_s=6)) as ada, listen(server, "show") as listener:
            await ada.news(live=True)
            await listener.news()
            await ada.send(HEAD + PAGES[0])
            await listener.pages(HEADER_PAGES + 1)
            await moved(server, 7)
            await ada.send(PAGES[1])
            assert (await ada.ask("session.describe"))["error"]["data"]["code"] == "token_expired"
            assert "result" in await ada.ask("session.refresh", token=server.token("ada", ttl_s=60))
            await ada.send(PAGES[2])
            assert heard(await listener.pages(HEADER_PAGES + 2)) == [PACKETS[0], PACKETS[2]]

    async def test_bare_http_without_a_session_of_ours_ends_with_its_token(self, moving: HereServer) -> None:
        server = moving
        await made(server, "show", "members")
        async with put(server, "show", server.token("ada", ttl_s=20)) as ada:
            await ada.send(HEAD + PAGES[0])
            await on_air(server, "show")
            async with get(server, "show", token=server.token("ben", ttl_s=12)) as listener:
                await listener.head()
                await paced(server, ada, 6)
                assert server.server.parts.streams.listeners("show") == 1
                await paced(server, ada, 7)
                await listener.to_the_end()
                await paced(server, ada, 8)
                assert await ada.refusal() == (401, "token_expired")

    async def test_bare_http_under_a_session_of_ours_outlives_its_token_and_ends_with_the_session(
        self, moving: HereServer
    ) -> None:
        server = moving
        token = await asyncio.to_thread(signed_in, server, "ada")
        async with put(server, "radio", token) as ada:
            await ada.send(HEAD + PAGES[0])
            await on_air(server, "radio")
            async with get(server, "radio", token=token) as listener:
                assert await listener.head() == 200
                await paced(server, ada, 31)
                here = server.server.parts.streams
                assert here.broadcasters == here.listeners("radio") == 1
                again = await asyncio.to_thread(signed_in, server, "ada")
                async with server.native(again) as desk:
                    sessions = (await desk.call("session.list"))["sessions"]
                    first = min(sessions, key=lambda one: one["created_at"])
                    await desk.call("session.revoke", session=first["id"])
                assert await ada.refusal() == (401, "token_revoked")
                await listener.to_the_end()


class TestHttp:
    async def test_methods(self, server: HereServer) -> None:
        token = await made(server, "show")
        async with request(server, "HEAD", "/streams/show") as asked:
            assert await asked.head() == 503
        async with put(server, "show", token) as ada:
            await ada.send(HEAD + PAGES[0])
            await on_air(server, "show")
            async with request(server, "HEAD", "/streams/show") as asked:
                assert await asked.head() == 200
                assert asked.headers["content-type"] == "audio/ogg"
                assert "content-length" not in asked.headers
        async with request(server, "OPTIONS", "/streams/show") as asked:
            assert await asked.head() == 204
            assert asked.headers["allow"] == "GET, PUT, HEAD, OPTIONS"
        async with request(server, "POST", "/streams/show", "Content-Length: 0") as asked:
            assert await asked.refusal() == (405, "method_not_allowed")
            assert "PUT" in asked.headers["allow"]
        for path in ("/streams/show/listen", "/streams/show/publish"):
            async with request(server, "GET", path) as asked:
                assert await asked.refusal() == (426, "upgrade_required")
        async with listen(server, "show") as listener:
            await listener.news()
            async with request(server, "GET", "/metrics") as asked:
                await asked.head()
                page = await asked.reader.readexactly(int(asked.headers["content-length"]))
            assert b"parley_stream_listeners 1.0" in page
            assert b'parley_broadcasts_total{outcome="accepted"}' in page
        async with request(server, "GET", "/streams/a%20b") as asked:
            assert await asked.refusal() == (404, "not_found")

    async def test_pages_of_others_may_call_where_they_are_allowed(self, tmp_path: Path) -> None:
        async with serving(tmp_path / "data", allowed_origins="https://shop.example") as server:
            token = await made(server, "show")
            ask = ("Origin: https://shop.example", "Access-Control-Request-Method: PUT")
            async with request(server, "OPTIONS", "/streams/show", *ask) as asked:
                assert await asked.head() == 204
                assert asked.headers["access-control-allow-origin"] == "https://shop.example"
                assert "PUT" in asked.headers["access-control-allow-methods"]
            async with get(server, "show", "Origin: https://shop.example") as listener:
                assert await listener.refusal() == (503, "not_live")
                assert "Retry-After" in listener.headers["access-control-expose-headers"]
            async with put(server, "show", token, "Origin: https://evil.example") as ada:
                assert await ada.refusal() == (403, "origin_denied")
            with pytest.raises(InvalidStatus) as refused:
                async with listen(server, "show", origin="https://evil.example"):
                    pass
            assert refused.value.response.status_code == 403

    async def test_expect_100_continue_is_answered_once_it_may_send(self, server: HereServer) -> None:
        token = await made(server, "show")
        async with put(server, "show", token, "Expect: 100-continue") as ada:
            line = await asyncio.wait_for(ada.reader.readline(), 5)
            assert line == b"HTTP/1.1 100 Continue\r\n"
            await ada.reader.readline()
            async with put(server, "show", token, "Expect: 100-continue") as second:
                assert await second.refusal() == (409, "already_live")
            await ada.send(HEAD + PAGES[0])
            await ada.finish()
            assert await ada.head() == 204


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
