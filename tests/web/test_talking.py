"""Two people in one room, each in a browser of their own: what they write, change, delete and see of each other."""

import re
import unicodedata

import pytest
from playwright.async_api import expect

from tests.serving import ServerProcess, native
from tests.web.conftest import OpenChat

pytestmark = pytest.mark.anyio

UNICODE = [
    "Grüße aus Köln, ça va? Ærø, naïve, Žižek",
    "日本語の文、中文的句子、한국어 문장",
    "שלום עולם, سلام دنیا, mixed עברית inside English",
    "👩🏽‍🚀🏳️‍🌈🇩🇪👨‍👩‍👧‍👦 and one more 🫱🏿‍🫲🏻",
    "e\u0301 composed and \u00e9 precomposed are one after NFC; Å is not Å",
    "𠀀𠮷 beyond the first plane, 𝔣𝔯𝔞𝔨𝔱𝔲𝔯",
    "zero\u200bwidth, soft\u00adhyphen, \u2067isolate\u2069, line\u2028separator",
    "<img src=x onerror=alert(1)> &amp; <script>alert(2)</script> ${7*7} {{7*7}}",
    "Z̷̧̛a̴l̵g̶o̸ ̷c̵o̸m̴e̶s̷ ह्रीं கொ ﷽",
    "two\nlines and\ttabs",
]


async def test_what_one_writes_the_other_reads_once_and_the_writer_too(open_chat: OpenChat) -> None:
    ada, ben = await open_chat("ada", "lobby"), await open_chat("ben", "lobby")
    await ada.say("Hello Ben, do you hear me?")
    await ben.sees("Hello Ben, do you hear me?")
    await ben.say("Loud and clear.")
    for one in (ada, ben):
        await one.sees("Hello Ben, do you hear me?", "Loud and clear.")
    assert (await ada.keys())[-2:] == (await ben.keys())[-2:]


async def test_every_kind_of_text_arrives_as_it_was_sent(open_chat: OpenChat, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as other:
        room = (await other.call("room.create", title="Babel"))["room"]["id"]
        ada = await open_chat("ada", room)
        await other.call("room.subscribe", room=room)
        expected = [unicodedata.normalize("NFC", text) for text in UNICODE]
        for count, text in enumerate(UNICODE, 1):
            await ada.say(text)
            await expect(ada.page.locator("article:not(.sending)")).to_have_count(count)
        assert await ada.texts() == expected
        await other.until(
            lambda one: (
                one.get("method") == "event" and one["params"]["data"].get("message", {}).get("text") == expected[-1]
            )
        )
        messages = [event["data"]["message"] for event in other.events(room) if event["type"] == "message.created"]
        assert [message["text"] for message in messages] == expected
        assert [message["id"] for message in messages] == await ada.keys()


async def test_a_link_is_a_link_and_nothing_else_is(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    await ada.say("See https://example.org/wiki/Parley_(chat), not javascript:alert(1) or http://[broken.")
    links = ada.log.get_by_role("article").last.get_by_role("link")
    await expect(links).to_have_count(1)
    assert await links.first.get_attribute("href") == "https://example.org/wiki/Parley_(chat)"
    assert "noopener" in (await links.first.get_attribute("rel") or "")


async def test_arrow_up_in_an_empty_composer_edits_the_last_message_for_everyone(open_chat: OpenChat) -> None:
    ada, ben = await open_chat("ada", "lobby"), await open_chat("ben", "lobby")
    await ada.say("Teh typo")
    await ben.sees("Teh typo")
    await ada.sees("Teh typo")
    await ada.composer.press("ArrowUp")
    await expect(ada.composer).to_have_value("Teh typo")
    await ada.composer.fill("The typo")
    await ada.composer.press("Enter")
    for one in (ada, ben):
        await expect(one.article("The typo")).to_have_count(1)
        await expect(one.article("The typo").get_by_text("edited", exact=False)).to_be_visible()
        await expect(one.page.get_by_text("Teh typo")).to_have_count(0)
    await expect(ada.composer).to_have_value("")


async def test_an_edit_that_is_left_gives_the_draft_back(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    await ada.say("Something said")
    await ada.sees("Something said")
    await ada.composer.fill("half a thought")
    await ada.article("Something said").hover()
    await ada.page.get_by_role("button", name="Edit").click()
    await expect(ada.composer).to_have_value("Something said")
    await ada.composer.press("Escape")
    await expect(ada.composer).to_have_value("half a thought")


async def test_an_admin_deletes_with_a_reason_and_the_text_is_gone_for_all(open_chat: OpenChat) -> None:
    ada, admin = await open_chat("ada", "lobby"), await open_chat("admin", "lobby")
    await ada.say("Buy cheap watches")
    await admin.article("Buy cheap watches").hover()
    await admin.page.get_by_role("button", name="Delete").click()
    await admin.page.get_by_role("dialog").get_by_label("Reason").fill("advertising")
    await admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(admin.page.get_by_role("dialog")).to_have_count(0)
    for one in (ada, admin):
        await expect(one.page.locator(".tombstone").last).to_have_text("Message deleted by Admin: advertising")
        await expect(one.page.get_by_text("Buy cheap watches")).to_have_count(0)


async def test_a_plain_member_is_offered_no_deletion(open_chat: OpenChat) -> None:
    ada, ben = await open_chat("ada", "lobby"), await open_chat("ben", "lobby")
    await ada.say("Mine to keep")
    for one in (ada, ben):
        await one.sees("Mine to keep")
        await one.article("Mine to keep").hover()
        await expect(one.page.get_by_role("button", name="Reply")).to_be_visible()
        await expect(one.page.get_by_role("button", name="Delete")).to_have_count(0)
        await one.article("Mine to keep").focus()
        await one.page.keyboard.press("Delete")
        await expect(one.page.get_by_role("dialog")).to_have_count(0)


async def test_a_reply_shows_what_it_answers_and_leads_there(open_chat: OpenChat) -> None:
    ada, ben = await open_chat("ada", "lobby"), await open_chat("ben", "lobby")
    await ada.say("What is the answer?")
    await ben.article("What is the answer?").hover()
    await ben.page.get_by_role("button", name="Reply").click()
    await ben.say("Forty-two")
    quote = ada.article("Forty-two").get_by_role("button", name="What is the answer?")
    await quote.click()
    await expect(ada.article("What is the answer?")).to_be_focused()


async def test_typing_is_seen_by_the_other_and_ends_with_the_message(open_chat: OpenChat) -> None:
    ada, ben = await open_chat("ada", "lobby"), await open_chat("ben", "lobby")
    await ada.composer.press_sequentially("thinking")
    await expect(ben.page.get_by_text("Ada is typing")).to_be_visible()
    await expect(ada.page.get_by_text("is typing")).to_have_count(0)
    await ada.composer.press("Enter")
    await expect(ben.page.get_by_text("is typing")).to_have_count(0)


async def test_presence_and_how_far_the_other_has_read_are_seen(open_chat: OpenChat, server: ServerProcess) -> None:
    ada = await open_chat("ada", "lobby")
    here = ada.page.locator(".people").first
    await expect(here.get_by_text("Ada")).to_be_visible()
    ben = await open_chat("ben", "lobby")
    await expect(here.get_by_text("Ben")).to_be_visible()
    await ada.say("Have you read this?")
    await ben.sees("Have you read this?")
    row = ada.article("Have you read this?").locator("xpath=..")
    await expect(row.get_by_text("Read up to here by Ben")).to_be_attached()


async def test_a_room_is_made_others_are_invited_and_find_it_in_their_list(open_chat: OpenChat) -> None:
    admin, ben = await open_chat("admin", "lobby"), await open_chat("ben", "lobby", clock=True)
    await admin.page.get_by_role("button", name="New room").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("Árvíztűrő 🌊 قاعة")
    await dialog.get_by_label("Private").check()
    await dialog.get_by_role("button", name="Make the room").click()
    await expect(admin.page.get_by_role("heading", level=1)).to_have_text("Árvíztűrő 🌊 قاعة")
    await admin.page.get_by_role("button", name="Invite").click()
    await dialog.get_by_role("combobox").fill("ben")
    await dialog.get_by_role("option").first.click()
    await expect(admin.page.locator(".people").get_by_text("Ben")).to_be_visible()
    await admin.say("Welcome in")
    # Nothing is sent to whoever is not in a room yet; the list is read again every 20 s.
    await ben.page.clock.fast_forward(20_000)
    item = ben.page.locator(".room-item").filter(has_text="Árvíztűrő")
    await expect(item).to_be_visible()
    await expect(item).to_have_class(re.compile("unread"))
    await item.click()
    await ben.sees("Welcome in")
    await expect(ben.page.get_by_role("separator", name="New")).to_be_visible()
    await expect(item).not_to_have_class(re.compile("unread"))


async def test_a_public_room_is_found_and_joined(open_chat: OpenChat, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as ada:
        await ada.call("room.create", title="Open garden")
    ben = await open_chat("ben", "lobby")
    await ben.page.get_by_role("button", name="Browse rooms").click()
    await ben.page.get_by_role("combobox").fill("garden")
    await expect(ben.page.get_by_role("option").filter(has_text="Open garden")).to_be_visible()
    await ben.page.keyboard.press("Enter")
    await expect(ben.page.get_by_role("heading", level=1)).to_have_text("Open garden")
    await ben.say("I am in")
    await ben.sees("I am in")


async def test_whoever_is_removed_is_told_and_can_write_no_more(open_chat: OpenChat, server: ServerProcess) -> None:
    async with native(server, server.login("admin")) as admin:
        room = (await admin.call("room.create", title="Short stay", visibility="private"))["room"]["id"]
        async with native(server, server.login("ben")) as other:
            subject = (await other.call("session.describe"))["subject"]
        await admin.call("room.invite", room=room, subject=subject)
        ben = await open_chat("ben", room)
        await expect(ben.composer).to_be_visible()
        await admin.call("room.remove", room=room, subject=subject)
        await expect(ben.page.get_by_text("You were removed from this room.")).to_be_visible()
        await expect(ben.composer).to_be_hidden()


async def test_a_message_the_server_refuses_stays_and_can_be_sent_again_or_deleted(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    await ada.write_what_is_refused()
    failed = ada.page.locator("article.failed")
    await expect(failed.get_by_text("Not sent")).to_be_visible()
    await expect(failed.get_by_text("invalid_params")).to_be_visible()
    await failed.get_by_role("button", name="Try again").click()
    await expect(failed.get_by_text("Not sent")).to_be_visible()
    await failed.get_by_role("button", name="Delete").click()
    await expect(failed).to_have_count(0)
    await expect(ada.composer).to_be_focused()


async def test_an_archived_room_is_read_only(open_chat: OpenChat, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as owner:
        room = (await owner.call("room.create", title="Old times"))["room"]["id"]
        ada = await open_chat("ada", room)
        await expect(ada.composer).to_be_visible()
        await owner.call("room.archive", room=room)
    await expect(ada.page.get_by_text("This room is archived")).to_be_visible()
    await expect(ada.composer).to_be_hidden()
