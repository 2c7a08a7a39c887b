"""The console by itself: what an agent sees, and does by keyboard. The whole story is `test_helpdesk_story.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.npm import node_modules
from tests.serving import ServerProcess, native
from tests.web.fitting import misfits
from tests.web.watched import OpenPage

pytestmark = pytest.mark.anyio

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """One for each test: what waits in the queue is what this test put there."""
    settings: dict[str, Any] = {"limits__conversations_per_min": 0, "limits__guest_messages_per_s": 0}
    with ServerProcess(tmp_path / "data", "--demo", **settings) as running:
        yield running


@pytest.fixture
def pages(open_page: OpenPage, server: ServerProcess) -> OpenPage:
    async def opened(url: str, **options: Any) -> Page:
        page = await open_page(server.url, **options)
        await page.goto(url)
        return page

    return opened


async def sign_in(page: Page, name: str) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(name)
    await page.get_by_role("button", name="Sign in").click()


def said(page: Page, text: str) -> Any:
    return page.get_by_role("log").get_by_role("article").filter(has_text=text)


async def begins(server: ServerProcess, message: str, **more: Any) -> dict[str, Any]:
    status, answer = server.post("/conversations", {"message": message, **more})
    assert status == 201
    conversation: dict[str, Any] = answer["conversation"]
    return conversation


async def violations(page: Page) -> list[str]:
    await page.evaluate((node_modules() / "axe-core" / "axe.min.js").read_text())
    found: list[str] = await page.evaluate(
        """async (tags) => {
          await Promise.allSettled(document.getAnimations({ subtree: true })
            .filter((one) => one.effect.getComputedTiming().iterations === 1).map((one) => one.finished));
          const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags } });
          const node = ({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`;
          return violations.map(({ id, nodes }) => `${id}: ${nodes.map(node).join(" | ")}`);
        }""",
        RULES,
    )
    return found + await misfits(page)


async def test_the_next_one_with_news_is_one_key_away(pages: Any, server: ServerProcess) -> None:
    await begins(server, "I am first", name="Uma")
    second = await begins(server, "I am second", name="Vi")
    agent = await pages(f"{server.url}/agent")
    await sign_in(agent, "agent")
    await expect(agent.locator(".desk-item")).to_have_count(2)
    for name in ("Uma", "Vi"):
        await agent.keyboard.press("c")
        await expect(agent.get_by_role("heading", level=1)).to_have_text(name)
        await agent.keyboard.press("Escape")
    await agent.keyboard.press("n")
    await expect(agent.get_by_role("heading", level=1)).to_have_text("Uma")
    await agent.keyboard.press("Control+k")
    await agent.get_by_role("combobox").fill("am sec")
    await agent.keyboard.press("Enter")
    await expect(agent.get_by_role("heading", level=1)).to_have_text("Vi")
    await expect(agent.get_by_role("log")).to_be_focused()
    await agent.keyboard.press("n")
    await expect(agent.get_by_role("heading", level=1)).to_have_text("Uma")
    await expect(said(agent, "I am first")).to_have_count(1)
    async with native(server, server.login("agent")) as other:
        await other.call("conversation.close", conversation=second["id"])
    await expect(agent.get_by_role("heading", name="Closed 1")).to_be_visible()


async def test_a_shortcut_becomes_its_text_before_it_is_sent(pages: Any, server: ServerProcess) -> None:
    async with native(server, server.login("admin")) as admin:
        await admin.call("reply.create", shortcut="hi", text="Good morning, how can I help?")
    await begins(server, "Hello")
    agent = await pages(f"{server.url}/agent")
    await sign_in(agent, "agent")
    await agent.locator(".desk-item").click()
    composer = agent.get_by_role("textbox", name="Reply to the visitor")
    await composer.fill("/h")
    await expect(agent.get_by_role("button", name="/hi")).to_be_visible()
    await composer.press("Enter")
    await expect(composer).to_have_value("Good morning, how can I help?")


async def test_a_conversation_is_handed_over_with_a_reason_and_a_visitor_is_blocked_only_when_asked_twice(
    pages: Any, server: ServerProcess
) -> None:
    async with native(server, server.login("admin")) as admin:
        await admin.call("department.create", name="Sales")
    conversation = await begins(server, "I would like two", name="Uma")
    agent = await pages(f"{server.url}/agent")
    await sign_in(agent, "agent")
    await agent.locator(".desk-item").click()
    await expect(agent.locator(".room-facts")).to_have_text("Waiting")
    await agent.get_by_role("button", name="Hand over").click()
    await agent.get_by_label("To", exact=True).select_option(label="Sales")
    await agent.get_by_label("Reason").fill("wants to buy")
    await agent.get_by_role("dialog").get_by_role("button", name="Hand over").click()
    await expect(agent.get_by_role("dialog")).to_have_count(0)
    await expect(agent.get_by_role("complementary", name="Visitor")).to_contain_text("Sales")
    await expect(agent.locator(".note article")).to_contain_text("wants to buy")
    await agent.get_by_role("button", name="Block").click()
    async with native(server, server.login("agent")) as other:
        shown = await other.call("conversation.get", conversation=conversation["id"])
        assert shown["conversation"]["blocked"] is False
        await agent.get_by_role("dialog").get_by_role("button", name="Block").click()
        await expect(agent.locator(".room-facts")).to_contain_text("blocked")
        shown = await other.call("conversation.get", conversation=conversation["id"])
        assert shown["conversation"]["blocked"] is True


async def test_an_agent_who_asked_for_it_is_notified_while_looking_elsewhere(pages: Any, server: ServerProcess) -> None:
    agent = await pages(f"{server.url}/agent", permissions=["notifications"])
    await sign_in(agent, "agent")
    await agent.get_by_role("button", name="Tell me when somebody waits").click()
    # Known once the queue is followed: who came before that is found in the list, and does not ring.
    await expect(agent.get_by_role("button", name="Agent Available")).to_be_visible()
    await agent.evaluate(
        """() => {
          window.told = [];
          window.Notification = class { static permission = "granted"; constructor(_, { body }) { told.push(body); } };
          Object.defineProperty(document, "hidden", { value: true });
        }"""
    )
    status, answer = server.post("/conversations", {"message": "Anybody?", "name": "Uma"})
    assert status == 201
    await expect(agent.locator(".desk-item")).to_have_count(1)
    assert await agent.evaluate("told") == ["Uma"]
    await agent.keyboard.press("c")
    await expect(said(agent, "Anybody?")).to_have_count(1)
    async with native(server, answer["access_token"]) as visitor:
        await visitor.call("message.send", room=answer["conversation"]["id"], text="Still there?")
    await expect(said(agent, "Still there?")).to_have_count(1)
    assert await agent.evaluate("told") == ["Uma", "Still there?"]


async def test_what_was_typed_survives_a_reload_and_a_note_stays_a_note(pages: Any, server: ServerProcess) -> None:
    await begins(server, "Hello", name="Uma")
    agent = await pages(f"{server.url}/agent")
    await sign_in(agent, "agent")
    await expect(agent.locator(".desk-item")).to_have_count(1)
    await agent.keyboard.press("c")
    await agent.get_by_role("textbox", name="Reply to the visitor").fill("half a repl")
    await agent.reload()
    await agent.locator(".desk-item").click()
    await expect(agent.get_by_role("textbox", name="Reply to the visitor")).to_have_value("half a repl")
    await agent.get_by_role("button", name="Note", exact=True).click()
    await agent.get_by_role("textbox", name="A note").fill("not for her eyes")
    await agent.reload()
    await agent.locator(".desk-item").click()
    await expect(agent.get_by_role("textbox", name="A note")).to_have_value("not for her eyes")
    await expect(agent.get_by_role("button", name="Note", exact=True)).to_have_attribute("aria-pressed", "true")


async def test_the_last_answer_is_edited_by_the_arrow_and_escape_leaves_it(pages: Any, server: ServerProcess) -> None:
    await begins(server, "Hello", name="Uma")
    agent = await pages(f"{server.url}/agent")
    await sign_in(agent, "agent")
    await expect(agent.locator(".desk-item")).to_have_count(1)
    await agent.keyboard.press("c")
    composer = agent.get_by_role("textbox")
    await expect(composer).to_be_focused()
    await agent.keyboard.type("Good mornign")
    await agent.keyboard.press("Enter")
    await expect(agent.locator("article.sending")).to_have_count(0)
    await agent.keyboard.press("ArrowUp")
    await expect(composer).to_have_value("Good mornign")
    await agent.keyboard.press("Escape")
    await expect(composer).to_have_value("")
    await expect(composer).to_be_focused()
    await agent.keyboard.press("ArrowUp")
    await composer.fill("Good morning")
    await agent.keyboard.press("Enter")
    await expect(said(agent, "Good morning")).to_contain_text("edited")
    await expect(composer).to_have_value("")


async def test_what_befell_it_stands_in_the_log_and_who_looks_beside_it(pages: Any, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as ada, native(server, server.login("admin")) as admin:
        await admin.call("account.create", username="bo", password="bo-bo-bo", roles=["agent"], name="Bo")
        await ada.call("conversation.start", message="An earlier question")
        room = (await ada.call("conversation.start", message="My lid is stuck"))["conversation"]["id"]
    agent = await pages(f"{server.url}/agent", viewport={"width": 900, "height": 700})
    await sign_in(agent, "agent")
    async with native(server, server.login("bo", "bo-bo-bo")) as bo:
        await bo.call("room.subscribe", room="queue")
        await bo.call("room.subscribe", room=room)
        await bo.call("conversation.claim", conversation=room)
        await agent.locator(".desk-item", has_text="My lid is stuck").click()
        await bo.call("conversation.close", conversation=room)
        await bo.call("conversation.reopen", conversation=room)
        await bo.call("conversation.transfer", conversation=room, department="Workshop", reason="a lid")
        for words in ("Bo claimed it", "Bo closed it", "Bo opened it again", "Bo handed it over"):
            await expect(agent.locator(".life", has_text=words)).to_have_count(1)
        await expect(agent.locator(".note article")).to_contain_text("a lid")

        about = agent.get_by_role("complementary", name="Visitor")
        await expect(about).to_be_hidden()
        await agent.get_by_role("button", name="About the visitor").click()
        await expect(about).to_contain_text("Also lookingBo")
        await expect(about).to_contain_text("Workshop")
        await expect(about).to_contain_text("Not here now")
        assert await violations(agent) == []
        await agent.keyboard.press("Escape")
        await expect(about).to_be_hidden()
        await expect(agent.get_by_role("button", name="About the visitor")).to_be_focused()
        await agent.keyboard.press("i")
        await about.get_by_role("button", name="An earlier question").click()
        await expect(said(agent, "An earlier question")).to_have_count(1)

        await agent.keyboard.press("Escape")
        await agent.keyboard.press("a")
        await bo.until(lambda one: "agent.changed" in str(one) and "away" in str(one))
        await agent.get_by_role("button", name="Agent Away").click()
        await agent.get_by_label("Available").check()
        await agent.get_by_label("Conversations at once").fill("3")
        assert await violations(agent) == []
        await agent.get_by_role("button", name="Save").click()
        await bo.until(lambda one: "agent.changed" in str(one) and "'capacity': 3" in str(one))
        await expect(agent.get_by_role("button", name="Agent Available")).to_contain_text("0 of 3")
        await agent.get_by_role("button", name="Agent Available").click()
        await agent.get_by_role("button", name="Sign out").click()
        await expect(agent.get_by_label("Password")).to_be_visible()
        assert await agent.evaluate("Object.keys(localStorage)") == ["parley.username"], "no token and no draft is left"


async def test_a_list_of_more_than_a_page_goes_on(pages: Any, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as ada:
        for number in range(105):
            await ada.call("conversation.start", message=f"question {number}")
    agent = await pages(f"{server.url}/agent")
    await sign_in(agent, "agent")
    await expect(agent.get_by_role("heading", name="Queue 100+")).to_be_visible()
    await agent.get_by_role("button", name="Show more").click()
    await expect(agent.get_by_role("heading", name="Queue 105")).to_be_visible()
    await expect(agent.get_by_role("button", name="Show more")).to_have_count(0)
    await expect(agent.locator(".desk-item").first).to_contain_text("question 0")


async def test_who_is_no_agent_is_told_so(pages: Any, server: ServerProcess) -> None:
    page = await pages(f"{server.url}/agent")
    await sign_in(page, "ada")
    await expect(page.get_by_text("The console is for agents")).to_be_visible()
    answer = await page.request.get(f"{server.url}/agent")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_console_has_no_violation(pages: Any, server: ServerProcess, scheme: str) -> None:
    await begins(server, "Where is my order?", name="Uma", email="uma@example.org", page="https://shop.example/")
    await begins(server, "And mine?", name="Vi")
    agent = await pages(f"{server.url}/agent", color_scheme=scheme)
    await sign_in(agent, "agent")
    await expect(agent.locator(".desk-item")).to_have_count(2)
    await agent.keyboard.press("c")
    await expect(said(agent, "Where is my order?")).to_have_count(1)
    await agent.keyboard.type("On its way.")
    await agent.keyboard.press("Enter")
    await agent.keyboard.press("Escape")
    await agent.keyboard.press("m")
    await agent.keyboard.type("second time she asks")
    await agent.keyboard.press("Enter")
    await expect(agent.locator("article.sending")).to_have_count(0)
    assert await violations(agent) == []
    await agent.keyboard.press("Escape")
    await agent.keyboard.press("?")
    await expect(agent.get_by_role("dialog")).to_be_visible()
    assert await violations(agent) == []


async def test_a_phone_shows_the_lists_or_the_conversation(pages: Any, server: ServerProcess) -> None:
    await begins(server, "Where is my order?", name="Uma")
    agent = await pages(f"{server.url}/agent", **PHONE)
    await sign_in(agent, "agent")
    await agent.locator(".desk-item").click()
    await expect(said(agent, "Where is my order?")).to_be_visible()
    await expect(agent.locator(".desk-item")).to_be_hidden()
    assert await agent.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await violations(agent) == []
    await agent.get_by_role("button", name="About the visitor").click()
    await expect(agent.get_by_role("complementary", name="Visitor")).to_contain_text("Uma")
    assert await violations(agent) == []
    strip = agent.locator("parley-strip")
    await strip.evaluate("(strip) => strip.show({ name: 'ended', reason: 'revoked' })")
    await strip.get_by_role("button", name="Sign in").click(trial=True)
    await agent.get_by_role("button", name="Back to the conversation", exact=True).click()
    await agent.get_by_role("button", name="Back to the conversations").click()
    await expect(agent.locator(".desk-item")).to_be_visible()
    await strip.get_by_role("button", name="Sign in").click(trial=True)

    await begins(server, "Do you ship to Norway?")
    await agent.locator(".desk-item", has_text="Norway").click()
    await expect(agent.locator("article", has_text="Norway").locator(".name")).to_have_text("Visitor")
    heading = agent.get_by_role("heading", name="Visitor", level=1)
    await expect(agent.get_by_role("button", name="Claim")).to_be_visible()
    assert await heading.evaluate("({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth")
    await agent.get_by_role("button", name="Close", exact=True).click()
    await expect(agent.get_by_role("textbox", name="Closed: reopen it to reply")).to_be_visible()
    await agent.set_viewport_size({"width": 844, "height": 390})
    assert await misfits(agent) == []
