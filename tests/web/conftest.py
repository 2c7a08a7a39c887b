"""A Chromium, a real server, and pages of them that must break no promise of every page.

Each page is watched: an uncaught error, a violation of its policy, or a request to another host fails its test.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from tests.npm import need
from tests.serving import ServerProcess
from tests.web.chat import Chat

#: Without these Chromium looks for Google's hosts at every start.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A machine that is busy with other tests needs more than Playwright's 5 s to draw what is due.
expect.set_options(timeout=15_000)

OpenChat = Callable[..., Awaitable[Chat]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    path = need("chromium", "the pages are tested in a real browser")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        await chromium.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The demo, without the limit on messages: tests write faster than people."""
    with ServerProcess(
        tmp_path_factory.mktemp("web") / "data", "--demo", limits__messages_per_s=0, limits__connections=100
    ) as running:
        yield running


class Watched:
    """What a page did that no page may do."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.host = urlsplit(origin).netloc
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        text = message.text
        # What the browser itself says of answers with 4xx, and of lines that are cut, is no fault of the page.
        if message.type == "error" and not text.startswith(("Failed to load resource", "WebSocket connection to")):
            self.faults.append(f"console: {text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc not in (self.host, "") and not request.url.startswith("data:"):
            self.faults.append(f"request: {request.url}")


@pytest.fixture
async def open_chat(browser: Browser, server: ServerProcess) -> AsyncIterator[OpenChat]:
    """Opens a page in a browser profile of its own; with a name it is signed in: `await open_chat("ada", "lobby")`."""
    watched: list[Watched] = []
    contexts = []

    async def opened(
        name: str | None = None, room: str = "", url: str = "", clock: bool = False, **options: Any
    ) -> Chat:
        context = await browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = await context.new_page()
        watched.append(Watched(page, url or server.url))
        if clock:
            await page.clock.install()
        chat = Chat(page, url or server.url)
        await chat.visit(room)
        if name is not None:
            await chat.sign_in(name)
        return chat

    yield opened
    for context in contexts:
        await context.close()
    assert [fault for one in watched for fault in one.faults] == []


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[2]
