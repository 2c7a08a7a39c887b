"""What an agent sees where two things happen at once: an answer is held or refused, a line cut, somebody else signs in.

The desk's own state is tested in `test_console_modules.py`; here is what stands on the page.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, WebSocketRoute, expect

from tests.serving import ServerProcess, native
from tests.web.test_console import PHONE, begins, said, sign_in
from tests.web.watched import OpenPage

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    settings: dict[str, Any] = {"limits__conversations_per_min": 0, "limits__guest_messages_per_s": 0}
    with ServerProcess(tmp_path_factory.mktemp("races") / "data", "--demo", **settings) as running:
        yield running


class Between:
    """Stands on the page's line to the server: keeps commands from it, refuses them, cuts it, says something itself."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.refused: set[str] = set()
        self.kept: set[str] = set()
        #: News of such a room waits here until it is let go.
        self.delayed: str | None = None
        self._late: list[str | bytes] = []
        self.came = asyncio.Event()
        self._socket: WebSocketRoute | None = None

    def join(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        server = socket.connect_to_server()

        def from_page(message: str | bytes) -> None:
            asked = json.loads(message)
            name = asked["method"] + (" visitor" if "visitor" in asked["params"] else "")
            if name in self.refused:
                error = {"code": -32003, "message": "no", "data": {"code": "forbidden", "status": 403}}
                socket.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}))
            elif name in self.kept:
                self.came.set()
            else:
                server.send(message)

        def from_server(message: str | bytes) -> None:
            told = json.loads(message)
            room = told.get("params", {}).get("room", "")
            if self.delayed is not None and told.get("method") == "event" and room.endswith(self.delayed):
                self._late.append(message)
            else:
                socket.send(message)

        socket.on_message(from_page)
        server.on_message(from_server)

    def let_go(self) -> None:
        assert self._socket is not None
        assert self._late
        self.delayed = None
        for message in self._late:
            self._socket.send(message)

    def says(self, method: str, **params: Any) -> None:
        assert self._socket is not None
        self._socket.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def cut(self) -> None:
        """The line is lost, and tried again at once: the page is told so in the very turn in which it learns of it."""
        assert self._socket is not None
        await self.page.evaluate(
            """() => {
              const strip = document.querySelector("parley-strip");
              window.again = new Promise((done) => {
                const seen = new MutationObserver(() => {
                  if (strip.dataset.state !== "reconnecting") return;
                  seen.disconnect();
                  dispatchEvent(new Event("online"));
                  done();
                });
                seen.observe(strip, { attributes: true });
              });
            }"""
        )
        await self._socket.close(code=3001)
        await self.page.evaluate("again")


@pytest.fixture
def console(open_page: OpenPage, server: ServerProcess) -> Any:
    async def opened(name: str = "agent", **options: Any) -> tuple[Page, Between]:
        page = await open_page(server.url, **options)
        between = Between(page)
        await page.route_web_socket(re.compile("/ws$"), between.join)
        await page.goto(f"{server.url}/agent")
        await sign_in(page, name)
        await expect(page.get_by_role("heading", name="Queue")).to_be_visible()
        return page, between

    return opened


@asynccontextmanager
async def visitor_of(server: ServerProcess, message: str) -> AsyncIterator[Any]:
    """A conversation of a visitor who is there; `say(text)` goes on with it."""
    status, answer = server.post("/conversations", {"message": message})
    assert status == 201
    room = answer["conversation"]["id"]
    async with native(server, answer["access_token"]) as guest:

        async def say(text: str) -> int:
            seq: int = (await guest.call("message.send", room=room, text=text))["message"]["seq"]
            return seq

        yield room, say


async def test_a_new_text_that_is_refused_is_not_lost_and_a_note_begun_while_editing_is_a_note(
    console: Any, server: ServerProcess
) -> None:
    await begins(server, "Is it an edit?")
    agent, between = await console()
    await agent.locator(".desk-item", has_text="Is it an edit?").click()
    await agent.keyboard.type("Good morning")
    await agent.keyboard.press("Enter")
    await expect(agent.locator("article:not(.sending)", has_text="Good morning")).to_have_count(1)
    composer = agent.get_by_role("textbox")
    between.refused.add("message.edit")
    await agent.keyboard.press("ArrowUp")
    await composer.fill("Good evening")
    await agent.keyboard.press("Enter")
    await expect(agent.locator(".toast")).to_contain_text("forbidden")
    await expect(composer).to_have_value("Good evening")
    await expect(agent.locator(".composer-banner")).to_contain_text("Editing your message")
    between.refused.clear()
    await agent.get_by_role("button", name="Note", exact=True).click()
    await expect(composer).to_have_value("")
    await agent.keyboard.type("she is in a hurry")
    await agent.keyboard.press("Enter")
    await expect(agent.locator(".note article:not(.sending)")).to_contain_text("she is in a hurry")
    await expect(said(agent, "Good morning")).not_to_contain_text("edited")


async def test_a_conversation_is_shown_though_the_lists_change_between_press_and_release(
    console: Any, server: ServerProcess
) -> None:
    async with visitor_of(server, "Press here"):
        agent, _ = await console()
        await agent.locator(".desk-item", has_text="Press here").hover()
        await agent.mouse.down()
        await begins(server, "And me, beneath")
        await expect(agent.locator(".desk-item", has_text="And me, beneath")).to_be_visible()
        await agent.mouse.up()
        await expect(said(agent, "Press here")).to_have_count(1)


async def test_handing_over_to_nobody_says_so(console: Any, server: ServerProcess) -> None:
    async with native(server, server.login("admin")) as admin:
        await admin.call("department.create", name="Returns")
    await begins(server, "Who takes it?")
    agent, between = await console()
    await agent.locator(".desk-item", has_text="Who takes it?").click()
    await expect(agent.locator(".room-facts")).to_have_text("Waiting")
    between.kept.add("agent.list")
    await agent.get_by_role("button", name="Hand over").click()
    dialog = agent.get_by_role("dialog")
    await dialog.get_by_role("button", name="Hand over").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Choose to whom it goes.")
    # What is known already can be chosen.
    await dialog.get_by_label("To", exact=True).select_option(label="Returns")
    await dialog.get_by_role("button", name="Hand over").click()
    await expect(dialog).to_have_count(0)
    await expect(agent.get_by_role("complementary", name="Visitor")).to_contain_text("Returns")


async def test_what_a_visitor_asked_before_is_asked_for_again_over_a_lost_line(
    console: Any, server: ServerProcess
) -> None:
    async with native(server, server.login("ada")) as ada:
        await ada.call("conversation.start", message="Long ago")
        await ada.call("conversation.start", message="Just now")
    agent, between = await console()
    between.kept.add("conversation.list visitor")
    await agent.locator(".desk-item", has_text="Just now").click()
    await between.came.wait()
    between.kept.clear()
    await between.cut()
    about = agent.get_by_role("complementary", name="Visitor")
    await expect(about.get_by_role("button", name="Long ago")).to_be_visible()


async def test_who_signs_in_as_somebody_else_sees_nothing_of_the_one_before(
    console: Any, server: ServerProcess
) -> None:
    agent, between = await console()
    await expect(agent.get_by_role("button", name="Agent Available")).to_be_visible()
    # The sign-in cannot be renewed: a person must come.
    await agent.evaluate("localStorage.clear()")
    between.says("session.expiring", expires_at="2099-01-01T00:00:00.000Z")
    await agent.get_by_role("button", name="Sign in").click()
    await sign_in(agent.get_by_role("dialog"), "admin")  # type: ignore[arg-type]
    await expect(agent.get_by_role("button", name="Admin Looking on")).to_be_visible()
    await begins(server, "Who sees me?")
    await expect(agent.locator(".desk-item", has_text="Who sees me?")).to_have_count(1)


async def test_who_is_no_agent_any_more_leaves_the_page_and_stays_signed_in(
    console: Any, server: ServerProcess
) -> None:
    async with native(server, server.login("admin")) as admin:
        made = await admin.call("account.create", username="bo", password="bo", roles=["agent"], name="Bo")
        agent, _ = await console("bo")
        await agent.keyboard.press("?")
        await expect(agent.get_by_role("dialog")).to_be_visible()
        await admin.call("account.set_roles", account=made["account"]["id"], roles=["member"])
    await expect(agent.get_by_text("The console is for agents")).to_be_visible()
    await expect(agent.get_by_role("dialog")).to_have_count(0)
    await expect(agent.locator(".desk")).to_have_count(0)
    await agent.goto(f"{server.url}/")
    await expect(agent.get_by_role("button", name="Bo", exact=False).first).to_be_visible()


async def test_a_note_that_comes_late_does_not_move_what_is_being_read(console: Any, server: ServerProcess) -> None:
    async with (
        visitor_of(server, "From the beginning\n" + "and on\n" * 60) as (room, say),
        native(server, server.login("agent")) as other,
    ):
        agent, between = await console()
        await agent.locator(".desk-item", has_text="From the beginning").click()
        await expect(said(agent, "From the beginning")).to_have_count(1)
        log = agent.get_by_role("log")
        place = """(log) => {
          const later = () => new Promise(requestAnimationFrame);
          return later().then(later).then(() => log.querySelector("article").getBoundingClientRect().top);
        }"""
        await log.evaluate("(log) => (log.scrollTop = 0)")
        before = await log.evaluate(place)
        between.delayed = ".notes"
        await other.call("message.send", room=f"{room}.notes", text="a note in between")
        await say("Still there?")
        await expect(said(agent, "Still there?")).to_have_count(1)
        assert await log.evaluate(place) == before
        between.let_go()
        await expect(agent.locator(".note article")).to_contain_text("a note in between")
        assert await log.evaluate(place) == before


async def test_until_the_line_stands_the_page_says_that_it_connects(open_page: OpenPage, server: ServerProcess) -> None:
    page = await open_page(server.url)
    # Nobody answers on it.
    await page.route_web_socket(re.compile("/ws$"), lambda _: None)
    await page.goto(f"{server.url}/agent")
    await sign_in(page, "agent")
    await expect(page.get_by_role("status")).to_have_text("Connecting…")


async def test_on_a_phone_what_comes_while_the_lists_are_shown_is_unread(console: Any, server: ServerProcess) -> None:
    async with visitor_of(server, "Do you see me?") as (_, say):
        agent, _ = await console(**PHONE)
        item = agent.locator(".desk-item", has_text="Do you see me?")
        await item.click()
        await agent.get_by_role("button", name="Claim").click()
        await expect(agent.locator(".room-facts")).to_have_text("Yours")
        await agent.get_by_role("button", name="Back to the conversations").click()
        await say("And now?")
        item = agent.locator(".desk-item", has_text="And now?")
        await expect(item).to_contain_text("1 new")
        await item.click()
        await expect(said(agent, "And now?")).to_be_visible()
        await agent.get_by_role("button", name="Back to the conversations").click()
        await expect(item).not_to_contain_text("new")


async def test_what_came_while_the_page_was_hidden_is_read_when_it_is_seen(console: Any, server: ServerProcess) -> None:
    async with visitor_of(server, "Are you looking?") as (room, say), native(server, server.login("agent")) as other:
        agent, _ = await console()
        await agent.locator(".desk-item", has_text="Are you looking?").click()
        await expect(said(agent, "Are you looking?")).to_have_count(1)
        show = """(state) => {
          Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await agent.evaluate(show, "hidden")
        await other.call("room.subscribe", room=room)
        seq = await say("Hello?")
        await expect(said(agent, "Hello?")).to_have_count(1)
        await agent.evaluate(show, "visible")
        await other.until(
            lambda one: (
                one.get("method") == "signal"
                and one["params"]["type"] == "receipts.changed"
                and any(receipt["seq"] == seq for receipt in one["params"]["data"]["receipts"])
            )
        )
