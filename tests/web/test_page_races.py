"""The chat page where two things happen at once: nothing is lost, doubled, or shown as it was before."""

import json
from typing import Any

import pytest
from playwright.async_api import expect

from tests.serving import ServerProcess, native
from tests.web.between import Between
from tests.web.conftest import OpenChat

pytestmark = pytest.mark.anyio


async def test_a_line_cut_while_the_rooms_are_asked_for_asks_for_no_password(open_chat: OpenChat) -> None:
    ada = await open_chat("ada", "lobby")
    between = Between()
    await between.stand(ada.page)
    between.cut_at("room.list")
    # An address may say anything, too.
    await ada.visit("100%")
    await expect(ada.page.locator("#username, .frame")).to_have_class("frame")
    await ada.say("back again")
    await ada.sees("back again")


async def test_somebody_else_who_signs_in_over_an_open_room_sees_their_own_page(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    async with native(server, server.login("ada")) as agent:
        await agent.call("room.create", title="Ada alone", visibility="private")
    ada = await open_chat("ada", clock=True)
    await ada.enter("Ada alone")
    await ada.forget_sign_in()
    await ada.page.clock.fast_forward(16 * 60_000)
    await ada.page.clock.fast_forward(5_000)
    await ada.strip.get_by_role("button", name="Sign in").click()
    dialog = ada.page.get_by_role("dialog", name="Sign in again")
    await dialog.get_by_label("Name").fill("ben")
    await dialog.get_by_label("Password").fill("ben")
    await dialog.get_by_role("button", name="Sign in").click()
    await expect(ada.page.locator(".me-name")).to_have_text("Ben")
    await expect(ada.page.locator(".room-item", has_text="Ada alone")).to_have_count(0)
    await ada.enter("Lobby")
    await ada.say("It is Ben")
    await ada.sees("It is Ben")


async def test_what_was_stored_before_its_answer_came_is_shown_once_after_a_reload(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    ada = await open_chat("ada", "lobby")
    await expect(ada.composer).to_be_visible()
    between = Between()
    async with native(server, server.login("ada")) as other:
        sent = (await other.call("message.send", room="lobby", text="stored already", client_id="once"))["message"]
        unsent = {"room": "lobby", "client_id": "once", "text": "stored already", "at": sent["at"]}
        # The page was closed before it knew.
        key = f"parley.unsent {sent['sender']['subject']} once"
        await ada.page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, json.dumps(unsent)])
        page_of_messages = between.hold("message.list", lambda params: params["room"] == "lobby")
        await between.stand(ada.page)
        await ada.visit("lobby")
        # It is sent again, and answered, before there is a log.
        await between.until_sent("message.send")
        await other.call("typing.set", room="lobby", active=True)
        await page_of_messages.until_there()
        page_of_messages.release()
        await ada.sees("stored already")
        await expect(ada.page.locator(".log-tail article")).to_have_count(0)


async def test_what_is_said_while_the_unread_are_counted_is_counted_once(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    async with native(server, server.login("ada")) as ada:
        room = (await ada.call("room.create", title="Counting house"))["room"]["id"]
        found = (await ada.call("room.members", room="lobby"))["members"]
        subject = next(one["subject"] for one in found if one["name"] == "Ben")
        await ada.call("room.invite", room=room, subject=subject)
        ben = await open_chat()
        between = Between()
        await between.stand(ben.page)
        await ben.visit("lobby")
        await ben.sign_in("ben")
        unread = ben.page.locator(".room-item", has_text="Counting house").locator(".count")
        await ada.call("message.send", room=room, text="first")
        await expect(unread).to_have_text("1")

        def counts(params: dict[str, Any]) -> bool:
            return params["room"] == room and "after" in params

        await between.until_sent("message.list", counts)  # the first line's
        count = between.hold("message.list", counts)
        await between.cut()
        await count.until_there()
        await ada.call("message.send", room=room, text="second")
        await expect(unread).to_have_text("2")
        count.release()
        await ada.call("message.send", room="lobby", text="and here")
        await ben.sees("and here")
        assert await unread.inner_text() == "2"


async def test_who_joins_while_the_members_are_read_is_among_them(open_chat: OpenChat, server: ServerProcess) -> None:
    async with native(server, server.login("ada")) as other:
        room = (await other.call("room.create", title="Growing"))["room"]["id"]
        ada = await open_chat()
        between = Between()
        await between.stand(ada.page)
        members = between.hold("room.members", lambda params: params["room"] == room)
        await ada.visit(room)
        await ada.sign_in("ada")
        await members.until_there()
        found = (await other.call("room.members", room="lobby"))["members"]
        subject = next(one["subject"] for one in found if one["name"] == "Ben")
        await other.call("room.invite", room=room, subject=subject)
        async with native(server, server.login("ben")) as ben:
            await ben.call("typing.set", room=room, active=True)
            await expect(ada.page.get_by_text("Ben is typing")).to_be_visible()
        members.release()
        await expect(ada.page.locator(".room-facts")).to_contain_text("2 people")


async def test_an_edit_that_is_refused_comes_back_and_takes_nothing_that_is_being_written(open_chat: OpenChat) -> None:
    ada = await open_chat()
    between = Between()
    await between.stand(ada.page)
    await ada.visit("lobby")
    await ada.sign_in("ada")
    await ada.say("to be bettered")
    await ada.sees("to be bettered")
    edit = between.hold("message.edit")
    await ada.composer.press("ArrowUp")
    await ada.composer.fill("bettered by far")
    await ada.composer.press("Enter")
    await edit.until_there()
    await ada.composer.fill("meanwhile, something else")
    await between.cut()
    await expect(ada.composer).to_have_value("bettered by far")
    await ada.composer.press("Escape")
    await expect(ada.composer).to_have_value("meanwhile, something else")


async def test_typing_that_went_on_for_long_is_taken_back_too(open_chat: OpenChat) -> None:
    ada = await open_chat(clock=True)
    between = Between()
    await between.stand(ada.page)
    await ada.visit("lobby")
    await ada.sign_in("ada")
    for key in "abc":
        await ada.composer.press(key)
        await ada.page.clock.fast_forward(4_000)
    await between.until_sent("typing.set", lambda params: params["active"])
    await ada.page.clock.fast_forward(2_000)
    await between.until_sent("typing.set", lambda params: not params["active"])


async def test_what_could_not_be_sent_is_still_there_when_one_is_let_in_again(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    async with native(server, server.login("ben")) as ben:
        room = (await ben.call("room.create", title="In and out"))["room"]["id"]
        found: list[dict[str, Any]] = (await ben.call("room.members", room="lobby"))["members"]
        subject = next(one["subject"] for one in found if one["name"] == "Ada")
        await ben.call("room.invite", room=room, subject=subject)
        ada = await open_chat()
        between = Between()
        await between.stand(ada.page)
        await ada.visit(room)
        await ada.sign_in("ada")
        await ada.write_what_is_refused()
        await expect(ada.page.locator("article.failed")).to_have_count(1)
        await ben.call("room.remove", room=room, subject=subject, ban=True)
        await expect(ada.page.get_by_text("You are banned from this room.")).to_be_visible()
        await ben.call("room.invite", room=room, subject=subject)
        await between.cut()
        await expect(ada.composer).to_be_visible()
        await expect(ada.page.locator("article.failed")).to_have_count(1)
