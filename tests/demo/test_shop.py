"""The demo's shop: there beside the chat, under a policy of its own, and in nobody's way."""

import asyncio
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from parley.demo.shop import Shop
from tests.serving import ServerProcess, shop_of


def test_it_frames_the_widget_and_is_gone_with_the_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo") as server:
        shop = shop_of(server)
        with urllib.request.urlopen(f"{shop}/?from=mail") as page:
            policy = page.headers["Content-Security-Policy"]
            assert page.read().decode().count(f'src="{server.url}/widget.js"') == 1
        assert f"script-src {server.url};" in policy
        assert "unsafe" not in policy
        with urllib.request.urlopen(f"{shop}/shop.css") as sheet:
            assert sheet.headers["Content-Type"].startswith("text/css")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{shop}/../pyproject.toml")
        with urllib.request.urlopen(f"{server.url}/widget") as widget:
            assert f"frame-ancestors {shop}" in widget.headers["Content-Security-Policy"]
        with socket.create_connection(("127.0.0.1", int(shop.rpartition(":")[2]))) as silent:
            silent.sendall(b"GET / HT")
            assert server.stop() == 0
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(shop)


@pytest.mark.anyio
async def test_a_port_that_is_taken_is_no_reason_not_to_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shop = Shop(port - 1)
        assert shop.port != port
        await shop.open("http://127.0.0.1:1")
        reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await shop.close()


def test_without_the_demo_there_is_none_and_nobody_frames_the_widget(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        with urllib.request.urlopen(f"{server.url}/widget") as widget:
            assert "frame-ancestors 'none'" in widget.headers["Content-Security-Policy"]
        assert "shop" not in server.log
