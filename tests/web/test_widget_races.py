"""The widget where two things happen at once, and in two tabs: one conversation, begun once, and nothing of it lost."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from playwright.async_api import Route, expect

from tests.serving import ServerProcess, native
from tests.web.between import Between
from tests.web.helpdesk import Shop, Visitor
from tests.web.watched import OpenPage

pytestmark = pytest.mark.anyio

BEGINS = "**/conversations"


@pytest.fixture(scope="module")
def server(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with shop.served(tmp_path_factory.mktemp("races") / "data") as running:
        yield running


@pytest.fixture
async def visitor(open_page: OpenPage, server: ServerProcess, shop: Shop) -> Visitor:
    page = await open_page(shop.url, server.url)
    await page.goto(shop.url)
    return Visitor(page)


async def test_a_first_word_that_a_reload_cut_off_is_not_asked_for_once_more_unasked(visitor: Visitor) -> None:
    asked: list[Route] = []
    came = asyncio.Event()

    async def first_hangs(route: Route) -> None:
        asked.append(route)
        came.set()
        if len(asked) > 1:
            await route.continue_()

    await visitor.page.context.route(BEGINS, first_hangs)
    await visitor.open()
    await visitor.say("Is anybody there?")
    async with asyncio.timeout(15):
        await came.wait()
    await visitor.say("Nobody?")
    await visitor.page.reload()
    await visitor.open()
    # The first may be stored already, and what follows it has to wait for it.
    again = visitor.frame.get_by_role("button", name="Try again")
    await expect(again).to_have_count(2)
    assert len(asked) == 1
    await again.last.click()
    await visitor.sees("Is anybody there?", "Nobody?")
    await expect(visitor.log.locator("article.unsent")).to_have_count(0)
    assert len(asked) == 2
    assert await visitor.texts() == ["Is anybody there?", "Nobody?"]


async def test_trying_again_while_another_word_begins_it_begins_it_once(visitor: Visitor) -> None:
    asked: list[Route] = []
    came = asyncio.Event()

    async def first_fails(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            await route.abort()
        else:
            came.set()

    await visitor.page.context.route(BEGINS, first_fails)
    await visitor.open()
    await visitor.say("one")
    again = visitor.frame.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    await visitor.say("two")
    async with asyncio.timeout(15):
        await came.wait()
    await again.click()
    await expect(again).to_have_count(0)
    for route in asked[1:]:
        await route.continue_()
    await visitor.sees("one", "two")
    assert len(asked) == 2


async def test_two_tabs_are_one_conversation_from_its_first_word_to_its_end(
    visitor: Visitor, server: ServerProcess
) -> None:
    await visitor.open()
    page = await visitor.page.context.new_page()
    await page.goto(visitor.page.url)
    other = Visitor(page)
    await other.open()
    async with native(server, server.login("agent")) as agent:
        await agent.call("room.subscribe", room="queue")
        await visitor.say("From the first tab")
        room = (await agent.event("conversation.queued", "queue"))["data"]["conversation"]["id"]
        await other.sees("From the first tab")
        await other.say("From the second")
        await visitor.sees("From the first tab", "From the second")
        # What one tab is told takes nothing that is kept for the other.
        await visitor.composer.fill("half a thou")
        await agent.call("conversation.claim", conversation=room)
        await agent.call("message.send", room=room, text="Good morning")
        await other.sees("Good morning")
        await visitor.page.reload()
        await visitor.open()
        await visitor.sees("Good morning")
        assert await visitor.composer.input_value() == "half a thou"
        await agent.call("conversation.block", conversation=room)
        for one in (visitor, other):
            await expect(one.log.locator("article")).to_have_count(0)
        await other.say("And anew")
        await visitor.sees("And anew")
        await expect(visitor.status).not_to_contain_text("ended")
        assert await visitor.texts() == await other.texts() == ["And anew"]


async def test_what_is_said_while_another_tab_begins_keeps_its_order(visitor: Visitor) -> None:
    held: list[Route] = []
    came = asyncio.Event()

    async def hold(route: Route) -> None:
        held.append(route)
        came.set()

    page = await visitor.page.context.new_page()
    # Its line never stands: what follows comes from the other tab alone.
    await page.route_web_socket(re.compile("/ws$"), lambda _: None)
    await page.goto(visitor.page.url)
    other = Visitor(page)
    await other.open()
    await visitor.open()
    await visitor.page.context.route(BEGINS, hold)
    await other.say("zero")
    async with asyncio.timeout(15):
        await came.wait()
    said = ["one", "two", "three"]
    for text in said:
        await visitor.say(text)
    await held[0].continue_()
    await visitor.sees("zero", *said)
    assert await visitor.texts() == ["zero", *said]
    assert len(held) == 1


async def test_a_long_log_is_read_in_one_word_and_who_typed_before_the_line_was_lost_types_no_more(
    visitor: Visitor, server: ServerProcess
) -> None:
    await visitor.open()
    async with native(server, server.login("agent")) as agent:
        await agent.call("room.subscribe", room="queue")
        await visitor.say("Tell me all")
        room = (await agent.event("conversation.queued", "queue"))["data"]["conversation"]["id"]
        await visitor.sees("Tell me all")
        await visitor.page.goto("about:blank")
        await agent.call("conversation.claim", conversation=room)
        for number in range(20):
            last = (await agent.call("message.send", room=room, text=f"line {number}."))["message"]
        between = Between()
        await between.stand(visitor.page.context)
        await visitor.page.go_back()
        await visitor.open()
        await visitor.sees("line 0.", "line 19.")
        await between.until_sent("receipt.mark", lambda params: params["seq"] == last["seq"])
        assert [name for name, _ in between.sent].count("receipt.mark") == 1
        # In a tab behind others it is there, but not read.
        frame = visitor.page.frames[1]
        hide = "Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })"
        await frame.evaluate(f"() => {{ {hide}; }}")
        unseen = (await agent.call("message.send", room=room, text="one more"))["message"]
        await visitor.sees("one more")
        await agent.call("typing.set", room=room, active=True)
        await expect(visitor.log).to_contain_text("is typing")
        assert [name for name, _ in between.sent].count("receipt.mark") == 1
        show = "delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))"
        await frame.evaluate(f"() => {{ {show}; }}")
        await between.until_sent("receipt.mark", lambda params: params["seq"] == unseen["seq"])
        await between.cut()
        await expect(visitor.log).not_to_contain_text("is typing")
