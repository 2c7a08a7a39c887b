"""CONTRACT 2, live audio: how a broadcast is cut, and how a token ends for those who send and those who hear."""

import asyncio
from pathlib import Path

import pytest

from tests.here import HereServer, serving, until
from tests.streams import get, listen, publish, put
from tests.transport.streams.scene import (
    HEAD,
    HEADER_PAGES,
    PACKETS,
    PAGES,
    heard,
    made,
    moved,
    on_air,
    paced,
    past_the_grace,
    sent_both_ways,
    signed_in,
)

pytestmark = pytest.mark.anyio


class TestCut:
    """At once, with the reason; the tests would time out long before the poll's or the grace's time."""

    async def test_by_stream_stop(self, server: HereServer) -> None:
        async with sent_both_ways(server) as (token, ada, again):
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
                assert asyncio.get_running_loop().time() - began < 8, "at once, also on a busy machine"
            async with put(server, "show", token) as ada:  # it is free again
                await ada.send(HEAD)
                await on_air(server, "show")

    async def test_by_revoking_the_session(self, server: HereServer) -> None:
        async with sent_both_ways(server) as (token, ada, again):
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
        async with (
            serving(tmp_path / "data") as server,
            sent_both_ways(server) as (_, ada, again),
            get(server, "show") as listener,
            listen(server, "show") as socket,
        ):
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
