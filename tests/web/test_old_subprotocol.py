"""The one old snippet that works in no browser, and what works in its place."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page

from tests.serving import ServerProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
async def page(browser: Browser, server: ServerProcess) -> AsyncIterator[Page]:
    page = await browser.new_page()
    await page.goto(server.url)
    yield page
    await page.close()


async def test_the_pair_authorization_and_bearer_throws_before_anything_is_sent(
    page: Page, server: ServerProcess
) -> None:
    thrown = await page.evaluate(
        """([url, token]) => {
            try { new WebSocket(url, ["Authorization", "Bearer " + token]); } catch (error) { return error.name; }
        }""",
        [server.ws_url, server.token("ada")],
    )
    assert thrown == "SyntaxError"


async def test_the_token_beside_the_real_subprotocol_opens(page: Page, server: ServerProcess) -> None:
    selected = await page.evaluate(
        """([url, token]) => new Promise((resolve) => {
            const ws = new WebSocket(url, ["parley.v1", "bearer." + token]);
            ws.onopen = () => resolve(ws.protocol);
            ws.onclose = ({ code, reason }) => resolve([code, reason]);
        })""",
        [server.ws_url, server.token("ada")],
    )
    assert selected == "parley.v1"


async def test_a_bad_one_is_told_to_the_page(page: Page, server: ServerProcess) -> None:
    closed = await page.evaluate(
        """([url, token]) => new Promise((resolve) => {
            const ws = new WebSocket(url, ["parley.v1", "bearer." + token]);
            ws.onclose = ({ code, reason }) => resolve([code, reason]);
        })""",
        [server.ws_url, server.token("ada", ttl_s=-5)],
    )
    assert closed == [4401, "token_expired"]
