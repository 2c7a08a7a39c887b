"""The page itself: signing in, drafts, the keyboard, the log with thousands of messages, phones."""

import re

import pytest
from playwright.async_api import expect

from tests.serving import ServerProcess, native
from tests.web.conftest import OpenChat

pytestmark = pytest.mark.anyio

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


async def test_a_wrong_password_is_told_in_words_with_its_code(open_chat: OpenChat) -> None:
    chat = await open_chat()
    await chat.sign_in("ada", "wrong")
    await expect(chat.page.get_by_role("alert")).to_contain_text("do not go together")
    await expect(chat.page.get_by_role("alert")).to_contain_text("invalid_credentials")
    await expect(chat.page.get_by_label("Password")).to_be_focused()
    await chat.sign_in("ada")
    await expect(chat.page.get_by_role("heading", level=1)).to_have_text("Lobby")


async def test_no_token_and_no_password_is_left_in_the_page_or_its_address(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    kept = await ada.page.evaluate("JSON.stringify({ ...localStorage, ...sessionStorage, cookie: document.cookie })")
    assert "eyJ" not in kept
    assert '"ada"' in kept  # The name alone, to save typing it.
    assert "token" not in ada.page.url


async def test_signing_out_ends_every_tab_of_the_browser_and_forgets_drafts(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    page = await ada.page.context.new_page()
    await page.goto(ada.url)
    await expect(page.locator(".frame")).to_be_attached()
    await ada.composer.fill("not for the next one here")
    await ada.page.get_by_role("button", name="account").click()
    await ada.page.get_by_role("button", name="Sign out").click()
    for tab in (ada.page, page):
        await expect(tab.get_by_role("button", name="Sign in")).to_be_visible()
    kept = await ada.page.evaluate("JSON.stringify({ ...localStorage })")
    assert "not for the next one" not in kept
    assert "parley.session" not in kept


async def test_a_sign_in_that_was_ended_takes_neither_room_nor_draft(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    ben = await open_chat("ben", "lobby")
    await ben.composer.fill("half a sentence")
    async with native(server, server.login("ben")) as other:
        own = (await other.call("session.describe"))["session"]
        for session in (await other.call("session.list"))["sessions"]:
            if session["id"] != own:
                await other.call("session.revoke", session=session["id"])
    await expect(ben.strip).to_contain_text("Your sign-in was ended")
    await expect(ben.page.locator(".room-notice")).to_contain_text("You can write again once you are connected")
    await expect(ben.page.locator(".room-item.gone")).to_have_count(0)
    await ben.strip.get_by_role("button", name="Sign in").click()
    await ben.sign_in("ben")
    await expect(ben.composer).to_have_value("half a sentence")


async def test_a_draft_survives_a_reload(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    await ada.composer.fill("A thought\nin two lines, unfinished")
    await ada.page.reload()
    await ada.page.wait_for_selector("#username, .frame")
    if await ada.page.locator("#username").count():
        await ada.sign_in("ada")
    await expect(ada.composer).to_have_value("A thought\nin two lines, unfinished")


async def test_each_room_has_a_draft_of_its_own(open_chat: OpenChat, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as other:
        await other.call("room.create", title="Second room")
    ada = await open_chat("ada", "lobby")
    await ada.composer.fill("for the lobby")
    await ada.enter("Second room")
    await expect(ada.composer).to_have_value("")
    await ada.composer.fill("for the second")
    await ada.enter("Lobby")
    await expect(ada.composer).to_have_value("for the lobby")


async def test_a_room_is_opened_though_something_arrives_between_press_and_release(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    async with native(server, server.login("ada")) as other:
        for title in ("Pressed", "Elsewhere"):
            room = (await other.call("room.create", title=title))["room"]["id"]
        ada = await open_chat("ada", "lobby")
        item = ada.page.locator(".room-item").filter(has_text="Pressed")
        await item.hover()
        await ada.page.mouse.down()
        async with native(server, server.login("ben")) as ben:
            await ben.call("room.join", room=room)
            await ben.call("message.send", room=room, text="Look here")
        await expect(ada.page.locator(".room-item.unread").filter(has_text="Elsewhere")).to_be_visible()
        await ada.page.mouse.up()
    await expect(ada.page.get_by_role("heading", level=1)).to_have_text("Pressed")


async def test_the_keyboard_alone_is_enough(open_chat: OpenChat, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as other:
        await other.call("room.create", title="Zephyr")
    ada = await open_chat("ada", "lobby")
    page = ada.page
    await page.keyboard.press("Control+k")
    await page.keyboard.type("zeph")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Zephyr")
    await expect(ada.composer).to_be_focused()
    await page.keyboard.type("first")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second")
    await page.keyboard.press("Enter")
    stored = ada.log.locator("article:not(.sending, .failed) .text")
    await expect(stored).to_have_count(1)
    assert await ada.texts() == ["first\nsecond"]
    await ada.log.focus()
    await page.keyboard.press("ArrowUp")
    await expect(ada.log.get_by_role("article")).to_be_focused()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(ada.log.get_by_role("article")).to_be_focused()
    await page.keyboard.press("r")
    await expect(ada.composer).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Replying to")).to_be_hidden()


async def test_scrolling_back_loads_what_is_older_without_moving_what_is_read(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    async with native(server, server.login("ada")) as other:
        room = (await other.call("room.create", title="Long"))["room"]["id"]
        for number in range(450):
            await other.call("message.send", room=room, text=f"number {number} " + "word " * (number % 37))
        await other.call("receipt.mark", room=room, seq=451)
        ada = await open_chat("ada", room)
        await ada.sees("number 449 " + "word " * (449 % 37))
        moved = await ada.page.evaluate(
            """async () => {
              const log = document.querySelector("parley-log");
              const moved = [];
              const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
              const isWhole = () => log.querySelector(".beginning") !== null;
              // Straight to the top: what is older comes while the first message that was loaded is in sight.
              const nth = (place) => log.querySelectorAll("article")[place];
              log.scrollTop = 0;
              await frames();
              const begin = nth(0).dataset.key;
              let [key, before] = [];
              while (nth(0).dataset.key === begin) {
                log.scrollTop = 0;
                key = nth(2).dataset.key;
                before = nth(2).getBoundingClientRect().top;
                await frames();
              }
              moved.push(Math.abs(log.querySelector(`[data-key="${key}"]`).getBoundingClientRect().top - before));
              for (let step = 0; step < 1000 && (log.scrollTop > 0 || !isWhole()); step++) {
                if (log.scrollTop === 0) {
                  await frames(); // who scrolls faster than the server answers waits for it at the top
                  continue;
                }
                const edge = log.getBoundingClientRect().top;
                const inSight = (one) => one.getBoundingClientRect().bottom > edge + 350;
                const { key } = [...log.querySelectorAll("article")].find(inSight).dataset;
                log.scrollTop -= 300;
                const before = log.querySelector(`[data-key="${key}"]`).getBoundingClientRect().top;
                await frames();
                const after = log.querySelector(`[data-key="${key}"]`)?.getBoundingClientRect().top;
                moved.push(Math.abs(after - before));
              }
              return Math.max(...moved);
            }"""
        )
        await expect(ada.page.get_by_text("The beginning of Long")).to_be_visible()
        assert moved < 2
        drawn = await ada.page.locator("article").count()
        assert drawn < 200, "a log of 450 messages draws only what is near"


async def test_new_messages_raise_a_pill_where_one_scrolled_up_and_move_nothing(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    async with native(server, server.login("ben")) as ben:
        room = (await ben.call("room.create", title="Busy"))["room"]["id"]
        for number in range(60):
            await ben.call("message.send", room=room, text=f"line {number}")
        async with native(server, server.login("ada")) as joining:
            await joining.call("room.join", room=room)
            await joining.call("receipt.mark", room=room, seq=61)
        ada = await open_chat("ada", room)
        await ada.sees("line 59")
        await ada.log.evaluate("log => { log.scrollTop = 300; }")
        await expect(ada.page.locator(".pill")).to_be_visible()
        before = await ada.log.evaluate("log => log.scrollTop")
        for number in range(3):
            await ben.call("message.send", room=room, text=f"late {number}")
        pill = ada.page.get_by_role("button", name="3 new")
        await expect(pill).to_be_visible()
        assert await ada.log.evaluate("log => log.scrollTop") == before
        await pill.click()
        await expect(ada.article("late 2")).to_be_in_viewport()
        await expect(pill).to_be_hidden()


async def test_messages_are_grouped_within_five_minutes_and_days_have_dividers(open_chat: OpenChat) -> None:
    chat = await open_chat()
    drawn = await chat.page.evaluate(
        """async () => {
          const { messageRow } = await import("/static/elements/message_row.js");
          const context = { firstNew: "d", find: () => null, readers: () => [] };
          const item = (key, subject, at) =>
            ({ key, message: { id: key, seq: 1, text: key, at, sender: { subject, name: subject } } });
          const items = [
            item("a", "ada", "2026-03-01T10:00:00Z"),
            item("b", "ada", "2026-03-01T10:04:59Z"),
            item("c", "ada", "2026-03-01T10:09:59Z"),
            item("d", "ada", "2026-03-01T10:10:00Z"),
            item("e", "ben", "2026-03-01T10:10:01Z"),
            item("f", "ben", "2026-03-03T10:10:01Z"),
          ];
          return items.map((one, i) => {
            const row = messageRow(one, items[i - 1] ?? null, context);
            const dividers = [...row.querySelectorAll(".divider")].map((divider) => divider.className);
            return [row.classList.contains("grouped"), ...dividers];
          });
        }"""
    )
    assert drawn == [
        [False, "divider day"],
        [True],
        [False],
        [False, "divider new"],
        [False],
        [False, "divider day"],
    ]


async def test_ten_thousand_messages_are_one_log_that_draws_few_of_them(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    result = await ada.page.evaluate(
        """async () => {
          const { messageRow } = await import("/static/elements/message_row.js");
          const log = document.createElement("parley-log");
          log.style.blockSize = "700px";
          document.querySelector("main").prepend(log);
          const context = { firstNew: null, find: () => null, readers: () => [] };
          log.drawRow = (item, before) => messageRow(item, before, context);
          const items = Array.from({ length: 10000 }, (_, i) => ({
            key: String(i),
            message: {
              id: String(i),
              seq: i + 1,
              text: `message ${i} ${"word ".repeat(i % 60)}`,
              at: new Date(1.7e12 + i * 60000).toISOString(),
              sender: { subject: `s${i % 7}`, name: `Person ${i % 7}` },
            },
          }));
          const frame = () => new Promise((done) => requestAnimationFrame(done));
          // What takes long takes long each time; a busy machine does not hold up all three.
          let resetMs = Infinity;
          for (let turn = 0; turn < 3 && resetMs >= 1500; turn++) {
            const started = performance.now();
            log.reset(items);
            await frame();
            resetMs = performance.now() - started;
          }
          let most = 0;
          const places = [0.9, 0.5, 0.1, 0, 0.333, 1];
          for (const place of places) {
            log.scrollTop = log.scrollHeight * place;
            for (let i = 0; i < 4; i++) await frame();
            most = Math.max(most, log.querySelectorAll("article").length);
            const box = log.getBoundingClientRect();
            const middle = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
            const seen = middle?.closest("article, .row, .log-chunk");
            if (!seen || seen.matches(".log-chunk:empty")) return { blank: place };
          }
          const last = [...log.querySelectorAll("article")].at(-1)?.dataset.key;
          log.remove();
          return { resetMs, most, last };
        }"""
    )
    assert result.get("last") == "9999", result
    assert result["most"] < 400
    assert result["resetMs"] < 1500


async def test_a_phone_shows_one_pane_at_a_time_with_a_way_back(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby", **PHONE)
    page = ada.page
    await expect(ada.composer).to_be_visible()
    await expect(page.get_by_role("navigation", name="Rooms")).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("button", name="People").click()
    await expect(page.get_by_role("complementary", name="People")).to_be_visible()
    await page.get_by_role("button", name="Back to the room", exact=True).click()
    await page.get_by_role("button", name="Back to the rooms").click()
    await expect(page.get_by_role("navigation", name="Rooms")).to_be_visible()
    await expect(ada.composer).to_be_hidden()
    await page.locator(".room-item").filter(has_text="Lobby").click()
    await expect(ada.composer).to_be_visible()
    # Every control a finger has to hit is large enough for it.
    small = await page.evaluate(
        "[...document.querySelectorAll('button')].filter((one) => one.offsetParent && one.offsetHeight < 44"
        " && !one.closest('.message, parley-strip, .pill')).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert small == []


async def test_the_address_names_the_room_and_the_browsers_back_leads_back(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    async with native(server, server.login("ada")) as other:
        room = (await other.call("room.create", title="Next door"))["room"]["id"]
    ada = await open_chat("ada", "lobby")
    await ada.enter("Next door")
    await expect(ada.page).to_have_url(re.compile(f"#{re.escape(room)}$"))
    await ada.page.go_back()
    await expect(ada.page.get_by_role("heading", level=1)).to_have_text("Lobby")
