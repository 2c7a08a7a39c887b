"""What the tests of the helpdesk's pages share: somebody else's site with the widget on it, a visitor, an agent.

Waits for what is to be seen, never for time.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.async_api import FrameLocator, Page, expect

from tests.serving import ServerProcess


class Shop:
    """A site of another origin, whose policy allows the chat's origin a script and a frame, and nothing more."""

    def __init__(self) -> None:
        self.chat = ""
        self.attributes = ""
        self.lang = "en"
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/" or self.path.startswith("/?")
                body = shop.page().encode() if found else b""
                self.send_response(200 if found else 204)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", shop.policy())
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def policy(self) -> str:
        return f"default-src 'none'; script-src {self.chat}; frame-src {self.chat}; img-src data:"

    def page(self) -> str:
        return (
            f'<!doctype html><html lang="{self.lang}"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            "<title>A small shop</title><link rel=icon href='data:,'>"
            f'<script src="{self.chat}/widget.js" async {self.attributes}></script>'
            "<main><h1>Teapots</h1><p>Each holds one litre and pours without a drop beside the cup.</p></main></html>"
        )

    @contextmanager
    def opened(self) -> Iterator["Shop"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    @contextmanager
    def served(self, data: Path, **settings: Any) -> Iterator[ServerProcess]:
        """The demo as this site's chat, without the limits on visitors: tests write faster than people."""
        unlimited = {"limits__conversations_per_min": 0, "limits__guest_messages_per_s": 0}
        with ServerProcess(data, "--demo", **unlimited, widget_origins=self.url, **settings) as running:
            self.chat = running.url
            yield running


class Visitor:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.frame: FrameLocator = page.frame_locator("iframe")
        self.log = self.frame.get_by_role("log")
        self.composer = self.frame.locator("textarea")
        self.status = self.frame.locator("header [role=status]")

    async def open(self) -> None:
        await self.page.get_by_role("button", name="Open the chat").click()
        await expect(self.composer).to_be_focused()

    async def say(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def sees(self, *texts: str) -> None:
        """Each of these stands in the log, once, and is stored."""
        for text in texts:
            await expect(self.log.locator("article:not(.unsent) .text", has_text=text)).to_have_count(1)
        await expect(self.log.locator("article.unsent")).to_have_count(0)

    async def texts(self) -> list[str]:
        return await self.log.locator("article .text").all_inner_texts()
