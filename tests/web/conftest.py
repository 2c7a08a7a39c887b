"""A Chromium, a real server, and pages of them, which are watched (`watched.py`)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.npm import need
from tests.serving import ServerProcess
from tests.web.chat import Chat
from tests.web.helpdesk import Shop
from tests.web.watched import OpenPage, watched_pages

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


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """Somebody else's site."""
    with Shop().opened() as opened:
        yield opened


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    async with watched_pages(browser) as open_page:
        yield open_page


@pytest.fixture
def open_chat(open_page: OpenPage, server: ServerProcess) -> OpenChat:
    """Opens a page in a browser profile of its own; with a name it is signed in: `await open_chat("ada", "lobby")`."""

    async def opened(
        name: str | None = None, room: str = "", url: str = "", clock: bool = False, **options: Any
    ) -> Chat:
        page = await open_page(url or server.url, **options)
        if clock:
            await page.clock.install()
        chat = Chat(page, url or server.url)
        await chat.visit(room)
        if name is not None:
            await chat.sign_in(name)
        return chat

    return opened


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[2]
