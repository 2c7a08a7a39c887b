"""The helpdesk as people have it: a visitor on the demo's shop, another origin under a strict policy, and an agent.

One story in two browsers, from the first word to the rating. Widget and console by themselves are tested beside.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.serving import ServerProcess, shop_of
from tests.web.helpdesk import Visitor
from tests.web.watched import OpenPage

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """As `make run` starts it, with every limit."""
    with ServerProcess(tmp_path / "data", "--demo") as running:
        yield running


async def test_a_visitor_and_an_agent_talk_from_the_first_word_to_the_rating(
    open_page: OpenPage, server: ServerProcess
) -> None:
    agent = await open_page(server.url)
    shop = await open_page(server.url, shop_of(server))
    visitor = Visitor(shop)

    await agent.goto(f"{server.url}/agent")
    await agent.get_by_label("Name").fill("agent")
    await agent.get_by_label("Password").fill("agent")
    await agent.get_by_role("button", name="Sign in").click()
    await expect(agent.get_by_text("Nobody is waiting")).to_be_visible()

    answer = await shop.goto(shop_of(server))
    assert answer is not None
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    await visitor.open()
    await visitor.say("Does it whistle?")
    await expect(visitor.status).to_contain_text("You are number 1 in the queue")
    await expect(agent.locator(".desk-item")).to_have_count(1)
    await agent.keyboard.press("c")
    await expect(said(agent, "Does it whistle?")).to_have_count(1)
    await expect(visitor.status).to_contain_text("Agent is answering you")
    await agent.keyboard.type("It does.")
    await expect(visitor.log).to_contain_text("Agent is typing")
    await agent.keyboard.press("Enter")
    await visitor.sees("Does it whistle?", "It does.")
    await visitor.composer.press_sequentially("Lovely, I t")
    await expect(agent.locator(".typing")).to_contain_text("Lovely, I t")
    await visitor.composer.fill("Lovely, I take it")
    await visitor.composer.press("Enter")
    await expect(said(agent, "Lovely, I take it")).to_have_count(1)

    await agent.keyboard.press("Escape")
    await agent.keyboard.press("m")
    await agent.keyboard.type("sells itself")
    await agent.keyboard.press("Enter")
    await expect(agent.locator(".note article:not(.sending)")).to_contain_text("sells itself")

    await shop.reload()
    await visitor.open()
    told = ["Does it whistle?", "It does.", "Lovely, I take it"]
    await visitor.sees(*told)
    assert await visitor.texts() == told, "once each, and notes are for agents"

    await shop.context.set_offline(True)
    await agent.keyboard.press("Escape")
    await agent.keyboard.press("r")
    await agent.keyboard.type("In blue or in red?")
    await agent.keyboard.press("Enter")
    await expect(agent.locator("article.sending")).to_have_count(0)
    await visitor.say("In blue, please")
    await expect(visitor.log.locator("article.unsent")).to_have_count(1)
    await shop.context.set_offline(False)
    await visitor.sees(*told, "In blue or in red?", "In blue, please")
    await expect(said(agent, "In blue, please")).to_have_count(1)
    await shop.reload()
    await visitor.open()
    await visitor.sees(*told, "In blue or in red?", "In blue, please")
    assert sorted(await visitor.texts()) == sorted([*told, "In blue or in red?", "In blue, please"])

    await agent.keyboard.press("Escape")
    await agent.keyboard.press("e")
    await expect(visitor.status).to_contain_text("closed")
    await visitor.frame.get_by_role("button", name="4 of 5").click()
    await expect(agent.get_by_role("complementary", name="Visitor")).to_contain_text("4 of 5")
    await agent.reload()
    await agent.locator(".desk-item").click()
    for text in (*told, "In blue or in red?", "In blue, please", "sells itself"):
        await expect(said(agent, text)).to_have_count(1)


def said(page: Page, text: str) -> Locator:
    return page.get_by_role("log").get_by_role("article").filter(has_text=text)
