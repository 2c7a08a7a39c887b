"""Pages in browser profiles of their own, watched: each must keep what every page of ours promises.

An uncaught error, an error in the console (a policy that refuses something says it there) or a request to another host
is a fault, and fails the test in which the page was opened.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Page, Request

#: `await open_page(*origins, **options)`: a blank page that may ask `origins`; the options are a browser context's.
OpenPage = Callable[..., Awaitable[Page]]

TIMEOUT_MS = 15_000
# What the browser itself says of answers with 4xx, and of lines that are cut, is no fault of the page.
FORGIVEN = ("Failed to load resource", "WebSocket connection to")


class Watch:
    """What pages did that no page may do."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def over(self, page: Page, origins: tuple[str, ...]) -> None:
        hosts = {"", *(urlsplit(origin).netloc for origin in origins)}

        def said(message: ConsoleMessage) -> None:
            if message.type == "error" and not message.text.startswith(FORGIVEN):
                self.faults.append(f"console: {message.text}")

        def asked(request: Request) -> None:
            if urlsplit(request.url).netloc not in hosts and not request.url.startswith("data:"):
                self.faults.append(f"request: {request.url}")

        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("console", said)
        page.on("request", asked)


@asynccontextmanager
async def watched_pages(browser: Browser) -> AsyncIterator[OpenPage]:
    watch, contexts = Watch(), []

    async def open_page(*origins: str, **options: Any) -> Page:
        context = await browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        )
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = await context.new_page()
        watch.over(page, origins)
        return page

    try:
        yield open_page
    finally:
        for context in contexts:
            await context.close()
    assert watch.faults == []
