"""The widget on a page of another origin, under that page's strict policy, and what it costs."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from playwright.async_api import Browser, Page, Response, WebSocketRoute, expect

from tests.npm import node_modules
from tests.serving import ServerProcess, native
from tests.web.fitting import misfits
from tests.web.helpdesk import Shop, Visitor
from tests.web.watched import OpenPage

pytestmark = pytest.mark.anyio

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
KEPT = "JSON.stringify({ ...localStorage, ...sessionStorage, cookie: document.cookie })"
WEIGHT_MAX = 30 * 1024
#: What the host's page is told is written where a test can wait for it: its policy allows no `eval`.
LISTEN = """(names) => {
  const heard = [];
  for (const name of names) parley.on(name, (value) => {
    heard.push(`${name} ${value ?? null}`);
    document.documentElement.dataset.heard = heard.join(", ");
  });
}"""

SECRET = "a secret of the shop's, 32 bytes and more"

OpenShop = Callable[..., Awaitable[Visitor]]


@pytest.fixture(scope="module")
def server(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    secret = tmp_path_factory.mktemp("issuer") / "secret"
    secret.write_text(SECRET)
    issuer = {"name": "shop", "issuer": "https://shop.example", "audience": "parley", "use": "identity"}
    issuers = json.dumps([{**issuer, "secret_file": str(secret), "default_kid": "shop-1"}])
    with shop.served(tmp_path_factory.mktemp("widget") / "data", auth__issuers=issuers) as running:
        yield running


@pytest.fixture
def open_shop(open_page: OpenPage, server: ServerProcess, shop: Shop) -> OpenShop:
    """A browser profile of its own on the shop's page; what either policy refuses fails the test."""

    async def opened(attributes: str = "", lang: str = "en", **options: Any) -> Visitor:
        shop.attributes, shop.lang = attributes, lang
        page = await open_page(shop.url, server.url, **options)
        await page.goto(shop.url)
        return Visitor(page)

    return opened


def identity(**claims: Any) -> str:
    """What the shop's back end says of its customer, by a library that is not ours."""
    now_s = int(time.time())
    said = {"sub": "customer-7", "name": "Vi Vouched", "email": "vi@shop.example", "exp": now_s + 60, **claims}
    payload = {"iss": "https://shop.example", "aud": "parley", "iat": now_s, **said}
    return jwt.encode(payload, SECRET, "HS256", headers={"kid": "shop-1"})


async def test_before_it_is_opened_there_is_one_request_and_nothing_kept(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    visitor = await open_shop()
    page, asked = visitor.page, []
    page.context.on("request", lambda request: asked.append(request.url))
    await page.reload()
    await expect(page.get_by_role("button", name="Open the chat")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    assert [url for url in asked if url.startswith(server.url)] == [f"{server.url}/widget.js"]
    assert await page.evaluate(KEPT) == '{"cookie":""}'
    assert await page.context.cookies() == []
    assert (await page.context.storage_state())["origins"] == []
    assert await page.locator("iframe").count() == 0


async def test_opened_it_weighs_under_30_kib_and_sets_no_cookie(open_shop: OpenShop, server: ServerProcess) -> None:
    visitor = await open_shop()
    answers: list[Response] = []
    visitor.page.context.on("response", lambda one: answers.append(one))
    await visitor.page.reload()
    await visitor.open()
    await visitor.page.wait_for_load_state("networkidle")
    assert {urlsplit(one.url).netloc for one in answers} <= {
        urlsplit(server.url).netloc,
        urlsplit(visitor.page.url).netloc,
    }
    ours = [one for one in answers if one.url.startswith(server.url)]
    weights = {urlsplit(one.url).path: (await one.request.sizes())["responseBodySize"] for one in ours}
    assert len(weights) > 10
    print(f"{sum(weights.values()) / 1024:.1f} KiB in {len(weights)} answers")
    assert sum(weights.values()) < WEIGHT_MAX, weights
    frame = visitor.page.frames[1]
    assert frame.url.startswith(f"{server.url}/widget")
    assert await frame.evaluate(KEPT) == '{"cookie":""}', "opened, and nothing said"
    await visitor.say("Hello")
    await visitor.sees("Hello")
    kept = json.loads(await frame.evaluate(KEPT))
    assert set(kept) == {"cookie", "parley.guest", "parley.visit"}
    assert kept["cookie"] == ""
    assert await visitor.page.evaluate(KEPT) == '{"cookie":""}', "the host's page keeps nothing"
    assert await visitor.page.context.cookies() == []


async def test_a_site_says_who_its_visitor_is_and_the_agent_sees_it_verified(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    visitor = await open_shop()
    page = visitor.page
    await page.evaluate(LISTEN, ["open", "close", "start", "identify"])
    await page.evaluate("(jwt) => { parley.identify(jwt); parley.open(); }", identity())
    async with native(server, server.login("agent")) as agent:
        await agent.call("room.subscribe", room="queue")
        await visitor.say("It is me")
        room = (await agent.event("conversation.queued", "queue"))["data"]["conversation"]["id"]
        shown = (await agent.call("conversation.get", conversation=room))["conversation"]["visitor"]
        assert shown["verified"] is True
        assert (shown["name"], shown["email"]) == ("Vi Vouched", "vi@shop.example")
        await visitor.sees("It is me")
        await expect(visitor.frame.get_by_label("Email")).to_have_count(0)  # the site has said it
        await page.evaluate("parley.close()")
        await expect(page.locator("iframe")).to_be_hidden()
        # Of identify and start neither has to be first.
        await expect(page.locator("html")).to_have_attribute("data-heard", re.compile("open .* close null$"))
        heard = await page.locator("html").get_attribute("data-heard")
        assert heard in (
            f"open null, identify null, start {room}, close null",
            f"open null, start {room}, identify null, close null",
        )
        # Another customer signs in at the same browser: the conversation is not theirs to read.
        await page.evaluate("(jwt) => { parley.open(); parley.identify(jwt); }", identity(sub="customer-8", name="Bo"))
        await expect(visitor.log.locator("article")).to_have_count(0)
        await visitor.say("And I am another")
        await visitor.sees("And I am another")
        found = (await agent.call("conversation.list", visitor="shop:customer-8"))["conversations"]
        assert [one["visitor"]["name"] for one in found] == ["Bo"]


async def test_identified_later_the_history_is_kept_and_a_refused_word_keeps_nobody_out(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    visitor = await open_shop()
    page = visitor.page
    await page.evaluate(LISTEN, ["identify"])
    await page.evaluate("(jwt) => parley.identify(jwt)", identity(exp=int(time.time()) - 600))
    await visitor.open()
    await visitor.say("Let me in")
    await visitor.sees("Let me in")
    heard = expect(page.locator("html"))
    await heard.to_have_attribute("data-heard", "identify token_expired")
    await page.evaluate("(jwt) => parley.identify(jwt)", identity(sub="customer-9"))
    await heard.to_have_attribute("data-heard", "identify token_expired, identify null")
    await visitor.sees("Let me in")
    async with native(server, server.login("agent")) as agent:
        found = (await agent.call("conversation.list", visitor="shop:customer-9"))["conversations"]
        assert [one["visitor"]["verified"] for one in found] == [True]


async def test_an_identity_named_while_the_line_comes_up_is_answered_once(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    """What the page's own look found reaches it just after it has asked about the identity."""
    visitor, asked, naming = await open_shop(), [], []
    page, word = visitor.page, identity(sub="customer-10")

    def between(socket: WebSocketRoute) -> None:
        onward, looks, held = socket.connect_to_server(), set(), list[str | bytes]()

        def from_page(message: str | bytes) -> None:
            onward.send(message)
            frame = json.loads(message)
            if frame.get("method") == "conversation.get":
                looks.add(frame["id"])
            elif frame.get("method") == "conversation.identify":
                asked.append(frame["params"]["identity"])
                while held:
                    socket.send(held.pop(0))

        def from_server(message: str | bytes) -> None:
            if not naming and json.loads(message).get("id") in looks:
                naming.append(asyncio.ensure_future(page.evaluate("(jwt) => parley.identify(jwt)", word)))
            if naming and not asked:
                held.append(message)
            else:
                socket.send(message)

        socket.on_message(from_page)
        onward.on_message(from_server)

    await page.route_web_socket(re.compile("/ws$"), between)
    await page.reload()
    await page.evaluate(LISTEN, ["identify"])
    await visitor.open()
    await visitor.say("Who am I?")
    await expect(page.locator("html")).to_have_attribute("data-heard", "identify null")
    # A receipt is behind whatever the page asked before it.
    await visitor.say("I am known")
    await visitor.sees("I am known")
    assert asked == [word]
    assert await page.locator("html").get_attribute("data-heard") == "identify null"


async def test_an_identity_whose_answer_was_lost_is_named_again_on_the_next_line(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    visitor, asked = await open_shop(), []
    page = visitor.page

    def between(socket: WebSocketRoute) -> None:
        onward = socket.connect_to_server()

        async def cut() -> None:
            await onward.close()
            await socket.close(code=1012, reason="restarting")

        def from_page(message: str | bytes) -> None:
            if json.loads(message).get("method") == "conversation.identify":
                asked.append(message)
                if len(asked) == 1:
                    cutting.append(asyncio.ensure_future(cut()))
                    return
            onward.send(message)

        socket.on_message(from_page)

    cutting: list[asyncio.Future[None]] = []
    await page.route_web_socket(re.compile("/ws$"), between)
    await page.reload()
    await page.evaluate(LISTEN, ["identify"])
    await visitor.open()
    await visitor.say("Hold on")
    await visitor.sees("Hold on")
    await page.evaluate("(jwt) => parley.identify(jwt)", identity(sub="customer-11"))
    await expect(page.locator("html")).to_have_attribute("data-heard", "identify null")
    assert len(asked) == 2
    async with native(server, server.login("agent")) as agent:
        found = (await agent.call("conversation.list", visitor="shop:customer-11"))["conversations"]
        assert [one["visitor"]["verified"] for one in found] == [True]


async def test_the_line_of_a_site_says_how_it_looks(open_shop: OpenShop) -> None:
    visitor = await open_shop(
        'data-accent="#8a3b1e" data-position="start" data-title="Tea" data-greeting="Welcome in" data-theme="dark"'
    )
    launcher = visitor.page.get_by_role("button", name="Open the chat")
    assert await launcher.evaluate("(one) => getComputedStyle(one).backgroundColor") == "rgb(138, 59, 30)"
    await visitor.open()
    await expect(visitor.frame.get_by_role("heading")).to_have_text("Tea")
    await expect(visitor.log).to_contain_text("Welcome in")
    assert await visitor.frame.locator("html").evaluate("(one) => getComputedStyle(one).colorScheme") == "dark"
    box = await visitor.page.locator("iframe").bounding_box()
    assert box is not None
    assert box["x"] < 100


async def test_a_visitor_begins_is_answered_reloads_and_sees_all_once(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    visitor = await open_shop()
    await visitor.open()
    async with native(server, server.login("agent")) as agent:
        await agent.call("room.subscribe", room="queue")
        await visitor.say("Does it whistle?")
        queued = await agent.event("conversation.queued", "queue")
        room = queued["data"]["conversation"]["id"]
        assert queued["data"]["conversation"]["visitor"]["page"] == visitor.page.url
        await expect(visitor.status).to_contain_text("in the queue")
        await visitor.frame.get_by_label("Name").fill("Vi")
        await visitor.frame.get_by_label("Email").fill("vi@example.org")
        await visitor.frame.get_by_role("button", name="Save").click()
        await expect(visitor.frame.get_by_label("Email")).to_have_count(0)
        await agent.call("conversation.claim", conversation=room)
        await expect(visitor.status).to_contain_text("is answering you")
        await agent.call("room.subscribe", room=room)
        await visitor.composer.press_sequentially("And in wh")
        await agent.until(lambda one: "And in wh" in str(one))
        await visitor.composer.fill("And in which colours?")
        await agent.call("typing.set", room=room, active=True)
        await expect(visitor.log).to_contain_text("is typing")
        await visitor.composer.press("Enter")
        await agent.until(lambda one: "which colours?" in str(one) and "message.created" in str(one))
        await agent.call("message.send", room=room, text="It does, in blue: https://shop.example/blue")
        await visitor.sees("Does it whistle?", "And in which colours?", "It does, in blue")
        before = await visitor.texts()

        await visitor.composer.fill("half a thou")
        await visitor.page.reload()
        await visitor.open()
        await visitor.sees("It does, in blue")
        assert await visitor.texts() == before
        assert await visitor.composer.input_value() == "half a thou"
        await expect(visitor.frame.get_by_label("Email")).to_have_count(0)  # asked once

        await visitor.page.context.set_offline(True)
        await agent.call("message.send", room=room, text="Shall I send one?")
        await visitor.page.context.set_offline(False)
        await visitor.say("Yes, please")
        await visitor.sees("Shall I send one?", "Yes, please")

        await agent.call("conversation.close", conversation=room)
        await expect(visitor.status).to_contain_text("closed")
        await visitor.frame.get_by_role("button", name="5 of 5").click()
        rated = await agent.event("conversation.rated", "queue")
        assert rated["data"]["conversation"]["rating"] == 5
        await visitor.say("One more thing")
        await agent.event("conversation.reopened", "queue")
        await expect(visitor.status).to_contain_text("in the queue")


async def test_a_second_tab_goes_on_in_the_same_conversation(open_shop: OpenShop, server: ServerProcess) -> None:
    visitor = await open_shop()
    await visitor.open()
    await visitor.say("From the first tab")
    await visitor.sees("From the first tab")
    page = await visitor.page.context.new_page()
    await page.goto(visitor.page.url)
    other = Visitor(page)
    await other.open()
    await other.sees("From the first tab")
    await other.say("From the second")
    await visitor.sees("From the first tab", "From the second")


async def test_while_it_is_closed_the_launcher_counts_and_escape_gives_the_focus_back(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    visitor = await open_shop()
    await visitor.page.evaluate("() => { window.heard = []; parley.on('unread', (count) => heard.push(count)); }")
    await visitor.open()
    async with native(server, server.login("agent")) as agent:
        await agent.call("room.subscribe", room="queue")
        await visitor.say("Anybody?")
        room = (await agent.event("conversation.queued", "queue"))["data"]["conversation"]["id"]
        await visitor.sees("Anybody?")
        await visitor.composer.press("Escape")
        launcher = visitor.page.get_by_role("button", name="Open the chat")
        await expect(launcher).to_be_focused()
        await expect(visitor.page.locator("iframe")).to_be_hidden()
        await agent.call("conversation.claim", conversation=room)
        await agent.call("message.send", room=room, text="Yes, me")
        await expect(visitor.page.get_by_role("button", name="Open the chat (1)")).to_be_visible()
        assert await visitor.page.evaluate("heard") == [1]
        await launcher.press("Enter")
        await visitor.sees("Anybody?", "Yes, me")
        await expect(visitor.composer).to_be_focused()
        await agent.call("conversation.block", conversation=room, reason="spam")
        await expect(visitor.status).to_contain_text("was ended")
        await visitor.say("Then I begin anew")
        await visitor.sees("Then I begin anew")
        assert await visitor.texts() == ["Then I begin anew"]


async def test_what_was_not_sent_stays_and_can_be_tried_again(open_shop: OpenShop) -> None:
    visitor = await open_shop()
    await visitor.open()
    await visitor.page.context.route("**/conversations", lambda route: route.abort())
    await visitor.say("Is this on?")
    await expect(visitor.frame.get_by_role("alert")).to_contain_text("Not sent")
    await visitor.page.context.unroute("**/conversations")
    await visitor.frame.get_by_role("button", name="Try again").click()
    await visitor.sees("Is this on?")


async def test_what_could_not_be_sent_does_not_keep_the_next_conversation_from_beginning(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    visitor = await open_shop()
    await visitor.open()
    async with native(server, server.login("agent")) as agent:
        await agent.call("room.subscribe", room="queue")
        await visitor.say("A first word")
        await visitor.sees("A first word")
        await visitor.composer.evaluate("field => (field.value = 'with a \\u0000 inside')")
        await visitor.composer.press("Enter")
        await expect(visitor.frame.get_by_role("button", name="Try again")).to_be_visible()
        begun = await agent.event("conversation.queued", "queue")
        await agent.call("conversation.block", conversation=begun["data"]["conversation"]["id"])
        await expect(visitor.status).to_contain_text("was ended")
        await visitor.say("Once more")
        await expect(visitor.log.locator("article:not(.unsent) .text", has_text="Once more")).to_have_count(1)
        await expect(visitor.log.locator("article.unsent")).to_have_count(1)


async def test_only_the_named_origins_frame_it_and_no_other_page_of_ours_is_framed(
    server: ServerProcess, shop: Shop, browser: Browser
) -> None:
    page = await browser.new_page()
    answers = {path: await page.request.get(f"{server.url}{path}") for path in ("/widget", "/", "/widget.js")}
    assert f"frame-ancestors {shop.url}" in answers["/widget"].headers["content-security-policy"]
    assert "x-frame-options" not in answers["/widget"].headers
    for path in ("/", "/widget.js"):
        assert "frame-ancestors 'none'" in answers[path].headers["content-security-policy"]
        assert answers[path].headers["x-frame-options"] == "DENY"
    await page.close()


async def violations(page: Page, frame_too: bool = True) -> list[str]:
    axe = (node_modules() / "axe-core" / "axe.min.js").read_text()
    found: list[str] = []
    for frame in page.frames if frame_too else page.frames[:1]:
        await frame.evaluate(axe)
        found += await frame.evaluate(
            """async (tags) => {
              await Promise.allSettled(document.getAnimations({ subtree: true }).map((one) => one.finished));
              const { violations } = await axe.run(document, {
                runOnly: { type: "tag", values: tags }, iframes: false,
              });
              const node = ({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`;
              return violations.map(({ id, nodes }) => `${id}: ${nodes.map(node).join(" | ")}`);
            }""",
            RULES,
        )
        found += await misfits(frame)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
async def test_the_widget_has_no_violation(
    open_shop: OpenShop, server: ServerProcess, scheme: str, size: dict[str, Any]
) -> None:
    # A colour on which nothing could be read, were it taken as it is.
    visitor = await open_shop('data-accent="#ffd400"', color_scheme=scheme, **size)
    assert await violations(visitor.page) == []
    await visitor.open()
    assert await violations(visitor.page) == []
    async with native(server, server.login("agent")) as agent:
        await agent.call("room.subscribe", room="queue")
        await visitor.say("Hello")
        room = (await agent.event("conversation.queued", "queue"))["data"]["conversation"]["id"]
        await agent.call("conversation.claim", conversation=room)
        await agent.call("message.send", room=room, text="Good morning")
        await visitor.sees("Hello", "Good morning")
        assert await violations(visitor.page) == []
        await agent.call("conversation.close", conversation=room)
        await expect(visitor.frame.get_by_role("button", name="5 of 5")).to_be_visible()
        assert await violations(visitor.page) == []
    box = await visitor.page.locator("iframe").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == ((390, 844) if size else (380, 620))


async def test_it_speaks_german_and_arabic_from_right_to_left(open_shop: OpenShop) -> None:
    german = await open_shop(lang="de")
    await german.page.get_by_role("button", name="Chat öffnen").click()
    await expect(german.composer).to_have_attribute("placeholder", "Ihre Nachricht")
    arabic = await open_shop('data-lang="ar"')
    await arabic.page.get_by_role("button", name="افتح الدردشة").click()
    await expect(arabic.frame.locator("html")).to_have_attribute("dir", "rtl")
    assert await violations(arabic.page) == []
    box = await arabic.page.locator("iframe").bounding_box()
    assert box is not None
    assert box["x"] < 100
