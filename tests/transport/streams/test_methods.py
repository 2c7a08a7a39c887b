"""CONTRACT 2, live audio: methods, pages of other origins, and 100-continue."""

import asyncio
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.here import HereServer, serving
from tests.serving import PATIENCE_S
from tests.streams import get, listen, put, request
from tests.transport.streams.scene import (
    HEAD,
    PAGES,
    made,
    on_air,
)

pytestmark = pytest.mark.anyio


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
            line = await asyncio.wait_for(ada.reader.readline(), PATIENCE_S)
            assert line == b"HTTP/1.1 100 Continue\r\n"
            await ada.reader.readline()
            async with put(server, "show", token, "Expect: 100-continue") as second:
                assert await second.refusal() == (409, "already_live")
            await ada.send(HEAD + PAGES[0])
            await ada.finish()
            assert await ada.head() == 204
