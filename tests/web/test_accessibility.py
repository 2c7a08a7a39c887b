"""axe-core's rules of WCAG 2.2 AA over every face of the page, light and dark, wide and narrow; and that it fits."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.npm import node_modules
from tests.serving import ServerProcess, native
from tests.web.conftest import OpenChat
from tests.web.fitting import misfits

pytestmark = pytest.mark.anyio

#: A phone shows one pane at a time: the main landmark and its heading are the room's, and not there with a list.
ONE_PANE = ("landmark-one-main", "page-has-heading-one")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDE: dict[str, Any] = {}

Check = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def axe() -> str:
    return (node_modules() / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def finds_nothing(axe: str) -> Check:
    async def check(page: Page, face: str, besides: tuple[str, ...] = ()) -> None:
        # Half-faded colours have half the contrast: what moves must stand first.
        await page.evaluate(
            "Promise.allSettled(document.getAnimations({ subtree: true })"
            ".filter((one) => one.effect.getComputedTiming().iterations === 1).map((one) => one.finished))"
        )
        await page.evaluate(axe)
        found = await page.evaluate(
            """async (tags) => {
              const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags } });
              const node = ({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`;
              return violations.map(({ id, nodes }) => `${id}: ${nodes.map(node).join(" | ")}`);
            }""",
            RULES,
        )
        assert [one for one in found if not one.startswith(besides or " ")] == [], face
        assert await misfits(page) == [], face

    return check


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
async def test_signing_in_has_no_violation(
    open_chat: OpenChat, finds_nothing: Check, scheme: str, size: dict[str, Any]
) -> None:
    chat = await open_chat(color_scheme=scheme, **size)
    await finds_nothing(chat.page, "the form")
    await chat.sign_in("ada", "wrong")
    await expect(chat.page.get_by_role("alert")).to_contain_text("invalid_credentials")
    await finds_nothing(chat.page, "the refusal")


async def furnish(server: ServerProcess) -> str:
    """A room with one of everything."""
    async with native(server, server.login("ben")) as ben, native(server, server.login("ada")) as ada:
        room = (await ada.call("room.create", title="Everything"))["room"]["id"]
        await ben.call("room.join", room=room)
        first = (await ben.call("message.send", room=room, text="A question with a link: https://example.org"))[
            "message"
        ]
        await ada.call("message.send", room=room, text="An answer", reply_to=first["id"])
        own = (await ada.call("message.send", room=room, text="To be edited"))["message"]
        await ada.call("message.edit", message=own["id"], text="Edited")
        gone = (await ben.call("message.send", room=room, text="To be deleted"))["message"]
        await ada.call("message.delete", message=gone["id"], reason="as an example")
        await ben.call("message.send", room=room, text="👍🏽")
        await ben.call("message.send", room=room, text="مرحبا بالجميع")
        await ben.call("receipt.mark", room=room, seq=8)
        await ada.call("room.create", title="A name that is longer than any pane is wide, and goes on and on")
        return str(room)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_room_and_its_dialogs_have_no_violation(
    open_chat: OpenChat, server: ServerProcess, finds_nothing: Check, scheme: str
) -> None:
    chat = await open_chat("ada", await furnish(server), color_scheme=scheme)
    page = chat.page
    await chat.sees("مرحبا بالجميع")
    await chat.write_what_is_refused()
    await expect(page.locator("article.failed")).to_be_visible()
    await finds_nothing(page, "the room")
    await chat.article("An answer").hover()
    await finds_nothing(page, "a message under the pointer")
    await chat.article("An answer").focus()
    for opener, face in (
        ("New room", "making a room"),
        ("Browse rooms", "browsing"),
        ("Invite someone", "inviting"),
        ("account", "the account"),
    ):
        await page.get_by_role("button", name=opener).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await finds_nothing(page, face)
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_role("button", name=opener)).to_be_focused()
    await page.get_by_role("button", name="Ben", exact=True).click()
    await finds_nothing(page, "a member")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    await finds_nothing(page, "jumping")
    await page.keyboard.press("Escape")
    await chat.article("An answer").focus()
    await page.keyboard.press("Delete")
    await finds_nothing(page, "deleting")
    await page.keyboard.press("Escape")
    await expect(chat.article("An answer")).to_be_focused()
    await page.keyboard.press("?")
    await finds_nothing(page, "the keys")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_has_no_violation(
    open_chat: OpenChat, server: ServerProcess, finds_nothing: Check, scheme: str
) -> None:
    chat = await open_chat("ada", await furnish(server), color_scheme=scheme, **PHONE)
    await chat.sees("مرحبا بالجميع")
    await finds_nothing(chat.page, "the room")
    await chat.page.get_by_role("button", name="People").click()
    await finds_nothing(chat.page, "the people", ONE_PANE)
    await chat.page.get_by_role("button", name="Back to the room", exact=True).click()
    await chat.page.get_by_role("button", name="Back to the rooms").click()
    await finds_nothing(chat.page, "the list", ONE_PANE)
    # Whichever pane is shown, where the connection stands is said.
    await chat.strip.evaluate("(strip) => strip.show({ name: 'ended', reason: 'revoked' })")
    await expect(chat.strip.get_by_role("button", name="Sign in")).to_be_visible()
    await expect(chat.page.get_by_role("button", name="account")).to_be_in_viewport(ratio=1)
    await finds_nothing(chat.page, "the list of who must sign in again", ONE_PANE)
    # Turned on its side it is wide, and pressed by a finger all the same.
    await chat.page.set_viewport_size({"width": 844, "height": 390})
    assert await misfits(chat.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_line_in_trouble_has_no_violation(open_chat: OpenChat, finds_nothing: Check, scheme: str) -> None:
    chat = await open_chat("ada", "lobby", color_scheme=scheme)
    states: list[dict[str, Any]] = [
        {"name": "connecting"},
        {"name": "reconnecting", "reason": "lost", "retryAtMs": 9e15},
        {"name": "held", "reason": "token_expired", "isOpen": False},
        {"name": "ended", "reason": "revoked"},
    ]
    for state in states:
        await chat.strip.evaluate("(strip, state) => { strip.hidden = false; strip.show(state); }", state)
        await expect(chat.strip).to_be_visible()
        await finds_nothing(chat.page, state["name"])


async def test_a_burst_of_messages_is_announced_once(open_chat: OpenChat, server: ServerProcess) -> None:
    chat = await open_chat("ada", "lobby", clock=True)
    await expect(chat.log).to_be_visible()
    await chat.page.evaluate(
        """() => {
          window.told = [];
          const words = document.querySelector(".announcer [role=status]");
          new MutationObserver(() => told.push(words.textContent)).observe(words, { childList: true, subtree: true });
        }"""
    )
    # What makes it one burst is the pause after it: time stands still while they come, however slowly.
    await chat.page.clock.pause_at(await chat.page.evaluate("Date.now()") / 1000 + 20)
    async with native(server, server.login("ben")) as ben:
        for number in range(5):
            await ben.call("message.send", room="lobby", text=f"burst {number}")
    await chat.sees("burst 4")
    assert await chat.page.evaluate("told") == []
    await chat.page.clock.fast_forward(1_000)
    assert await chat.page.evaluate("told") == ["5 new messages. Ben: burst 4"]
