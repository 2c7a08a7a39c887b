"""The explorer of `/graphql`: it asks, subscribes, says what went wrong, and shows the schema; in a real browser."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from tests.serving import ServerProcess, native
from tests.web.test_accessibility import PHONE, WIDE, Check, axe, finds_nothing
from tests.web.watched import OpenPage

pytestmark = pytest.mark.anyio

__all__ = ["axe", "finds_nothing"]

Open = Callable[..., Awaitable[Page]]
EVENTS = 'subscription { roomEvents(room: "lobby") { seq message { text } } }'


@pytest.fixture
def explorer(open_page: OpenPage, server: ServerProcess) -> Open:
    async def opened(query: str = "", **options: Any) -> Page:
        page = await open_page(server.url, **options)
        await page.goto(f"{server.url}/graphql{query}")
        return page

    return opened


async def run(page: Page, document: str, variables: str = "", token: str | None = None) -> None:
    await page.get_by_label("Document").fill(document)
    await page.get_by_label("Variables").fill(variables)
    if token is not None:
        await page.get_by_label("Access token").fill(token)
    await page.get_by_label("Document").press("Control+Enter")


def answer(page: Page, number: int = -1) -> Any:
    return page.get_by_role("log").get_by_role("article").nth(number)


async def test_a_query_is_asked_and_answered(explorer: Open, server: ServerProcess) -> None:
    page = await explorer()
    await expect(page.get_by_role("log")).to_contain_text("What the server says will be here.")
    await run(page, "query($id: ID!) { room(id: $id) { id kind } }", '{"id": "lobby"}', server.login("ada"))
    await expect(answer(page)).to_contain_text("200")
    text = await answer(page).locator("pre").inner_text()
    assert json.loads(text) == {"data": {"room": {"id": "lobby", "kind": "room"}}}
    await expect(page.get_by_role("status")).to_have_text("Answered")
    await page.get_by_role("button", name="Clear").click()
    await expect(page.get_by_role("log")).to_contain_text("What the server says will be here.")


async def test_what_is_refused_says_why(explorer: Open, server: ServerProcess) -> None:
    page = await explorer()
    await run(page, "{ session { name } }")
    await expect(answer(page)).to_contain_text("401")
    await expect(answer(page).locator(".words")).to_contain_text("token")
    await expect(page.get_by_role("status")).to_have_text("Refused")
    await run(page, "{ nobody }", token=server.login("ada"))
    await expect(answer(page)).to_contain_text("400")
    await expect(answer(page)).to_contain_text("unknown_command")
    await run(page, "{ session { name } }", "[1]")
    await expect(answer(page)).to_contain_text("The variables are not a JSON object.")
    await expect(page.get_by_label("Variables")).to_be_focused()
    await run(page, EVENTS, token="wrong")
    await expect(answer(page)).to_contain_text("closed 4401")
    await expect(answer(page)).to_contain_text("token_malformed")


async def test_a_subscription_is_live_until_it_is_stopped(explorer: Open, server: ServerProcess) -> None:
    page = await explorer()
    button = page.locator("#run")
    await expect(button).to_have_text("Run")
    async with native(server, server.login("ben")) as ben:
        # "Live" says who asks, not from which event on: that is asked for by its number.
        head = (await ben.call("room.get", room="lobby"))["room"]["seq"]
        events = EVENTS.replace('"lobby"', f'"lobby", after: {head}')
        await run(page, f"# as it happens\n{events}", token=server.login("ada"))
        await expect(button).to_have_text("Stop")
        await expect(page.get_by_role("status")).to_have_text("Live")
        for text in ("<b>first</b>", "second"):
            await ben.call("message.send", room="lobby", text=text)
        await expect(answer(page)).to_contain_text("second")
        await expect(answer(page, 0)).to_contain_text("<b>first</b>")
        await expect(page.get_by_role("status")).to_have_text("Live, 2 told")
        await button.click()
        await expect(page.get_by_role("status")).to_have_text("Stopped, 2 told")
        await expect(button).to_have_text("Subscribe")
    await run(page, EVENTS.replace("lobby", "nowhere"))
    await expect(answer(page)).to_contain_text("not_found")
    await expect(page.get_by_role("status")).to_have_text("Ended")


async def test_the_schema_is_there_as_text_without_a_token(explorer: Open) -> None:
    page = await explorer()
    await page.get_by_text("Schema", exact=True).click()
    shown = page.get_by_role("region", name="The schema as text")
    await expect(shown).to_contain_text("type Subscription {")
    await page.get_by_label("Find in the schema").fill("SendMessageResult")
    await expect(shown).to_contain_text("duplicate: Boolean!")
    await expect(shown).not_to_contain_text("type Subscription {")
    await page.get_by_label("Find in the schema").fill("no such words")
    await expect(shown).to_have_text("Nothing in the schema says that.")


async def test_a_schema_that_could_not_be_read_is_read_when_it_is_opened_again(explorer: Open) -> None:
    page = await explorer()
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "code": "unavailable"}
    await page.route("**/schema.graphql", lambda route: route.fulfill(status=503, json=problem), times=1)
    summary = page.get_by_text("Schema", exact=True)
    shown = page.get_by_role("region", name="The schema as text")
    await summary.click()
    await expect(shown).to_have_text("The schema could not be read. Close this and open it again.")
    await summary.click()
    await summary.click()
    await expect(shown).to_contain_text("type Subscription {")


async def test_a_link_brings_a_query_and_asks_nothing_by_itself(explorer: Open) -> None:
    page = await explorer(f"?query={quote('{ session { name } }')}&variables={quote('{}')}")
    await expect(page.get_by_label("Document")).to_have_value("{ session { name } }")
    await expect(page.get_by_label("Variables")).to_have_value("{}")
    await expect(page.get_by_role("article")).to_have_count(0)


async def test_it_is_all_done_by_keys(explorer: Open, server: ServerProcess) -> None:
    page = await explorer()
    focused = page.locator(":focus")
    for place in ("Chat", "document", "variables", "token", "run", "said", "Schema"):
        await page.keyboard.press("Tab")
        assert await focused.evaluate("one => one.id || one.textContent") == place
        assert await focused.evaluate("one => getComputedStyle(one).outlineStyle") != "none", place
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name="The schema as text")).to_contain_text("type Query {")
    await page.keyboard.press("Tab")
    await page.keyboard.type("SendMessageResult")
    await expect(page.get_by_role("region", name="The schema as text")).not_to_contain_text("type Query {")
    await run(page, EVENTS, token=server.login("ada"))
    await expect(page.get_by_role("status")).to_have_text("Live")
    await page.keyboard.press("Control+Enter")
    await expect(page.get_by_role("status")).to_have_text("Stopped, 0 told")
    await expect(page.get_by_label("Document")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
async def test_the_explorer_has_no_violation(
    explorer: Open, server: ServerProcess, finds_nothing: Check, scheme: str, size: dict[str, Any]
) -> None:
    page = await explorer(color_scheme=scheme, **size)
    await finds_nothing(page, "empty")
    await run(page, "{ session { name } }", token=server.login("ada"))
    await expect(answer(page)).to_contain_text("200")
    await run(page, "{ nobody }")
    await expect(answer(page)).to_contain_text("400")
    await run(page, EVENTS)
    await expect(page.get_by_role("status")).to_have_text("Live")
    await page.get_by_text("Schema", exact=True).click()
    await expect(page.get_by_role("region", name="The schema as text")).to_contain_text("type Query {")
    await finds_nothing(page, "with an answer, a refusal, a subscription and the schema")
