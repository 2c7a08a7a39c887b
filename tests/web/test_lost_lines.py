"""The line breaks in every way it can, and nothing is missing or doubled afterwards."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.serving import ServerProcess, native
from tests.web.conftest import OpenChat
from tests.web.line import line

pytestmark = pytest.mark.anyio


async def test_a_restart_of_the_server_loses_and_doubles_nothing(open_chat: OpenChat, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo", limits__messages_per_s=0) as server:
        ada, ben = await open_chat("ada", "lobby", server.url), await open_chat("ben", "lobby", server.url)
        await ada.say("before")
        await ben.sees("before")
        await asyncio.to_thread(server.stop)
        await expect(ada.strip).to_contain_text("What you write is kept")
        await ada.say("said into the void, one")
        await ada.say("said into the void, two")
        await ben.say("from the other side")
        await asyncio.to_thread(server.start)
        async with native(server, server.login("agent")) as agent:
            await agent.call("message.send", room="lobby", text="I was here first")
            for one in (ada, ben):
                await one.sees(
                    "before",
                    "said into the void, one",
                    "said into the void, two",
                    "from the other side",
                    "I was here first",
                )
                await expect(one.strip).to_be_hidden()
            await expect(ada.page.locator("article.sending")).to_have_count(0)
            texts = await ada.texts()
            assert texts == await ben.texts()
            assert texts.index("said into the void, one") < texts.index("said into the void, two")
            stored = [message["text"] for message in (await agent.call("message.list", room="lobby"))["messages"]]
            assert stored == texts


async def test_a_line_that_swallows_bytes_without_closing_is_noticed_by_its_silence(
    open_chat: OpenChat, tmp_path: Path
) -> None:
    async with line() as tunnel:
        settings: dict[str, Any] = {"allowed_origins": tunnel.url, "limits__messages_per_s": 0}
        with ServerProcess(tmp_path / "data", "--demo", **settings) as server:
            tunnel.target = server.port
            ada = await open_chat("ada", "lobby", tunnel.url, clock=True)
            await ada.say("before the tunnel")
            await ada.sees("before the tunnel")
            tunnel.swallow()
            await ada.say("said in the tunnel")
            async with native(server, server.login("ben")) as ben:
                for number in range(5):
                    await ben.call("message.send", room="lobby", text=f"missed {number}")
                await expect(ada.page.locator("article.sending")).to_have_count(1)
                await expect(ada.strip).to_be_hidden()
                # 45 s without a word; the clock is moved, not waited for. Then the pause before the next attempt.
                await ada.page.clock.fast_forward(46_000)
                await ada.page.clock.fast_forward(5_000)
                expected = ["before the tunnel", *(f"missed {number}" for number in range(5)), "said in the tunnel"]
                await ada.sees(*expected)
                assert await ada.texts() == expected
                stored = [message["text"] for message in (await ben.call("message.list", room="lobby"))["messages"]]
                assert stored == expected
            assert tunnel.swallowed_bytes > 0


async def test_a_line_cut_again_and_again_gives_every_event_once_and_in_order(
    open_chat: OpenChat, tmp_path: Path
) -> None:
    async with line() as wire:
        settings: dict[str, Any] = {"allowed_origins": wire.url, "limits__messages_per_s": 0}
        with ServerProcess(tmp_path / "data", "--demo", **settings) as server:
            wire.target = server.port
            chat = await open_chat(url=wire.url)
            async with native(server, server.login("ben")) as ben:
                await chat.run(
                    """
                    window.seen = [];
                    const parley = await enter("ada", { timing: { retryMs: 20, retryMaxMs: 100, restartMs: 20 } });
                    const event = ({ seq, data }) => seen.push([seq, data.message?.text]);
                    await parley.subscribe("lobby", { event }).ready;
                    const texts = Array.from({ length: 40 }, (_, i) => `mine ${i}`);
                    window.sending = Promise.all(texts.map((text) => parley.send("lobby", text)));
                    """
                )
                for number in range(200):
                    await ben.call("message.send", room="lobby", text=f"theirs {number}")
                    if number % 20 == 10:
                        wire.cut()
                answers = await chat.run("return (await window.sending).map(({ message }) => message.text)")
                assert answers == [f"mine {number}" for number in range(40)]
                assert wire.accepted > 5
                head = (await ben.call("room.get", room="lobby"))["room"]["seq"]
                await chat.until(f"seen.at(-1)?.[0] === {head}")
                seen = await chat.run("return window.seen")
                events = (await ben.call("event.list", room="lobby", after=seen[0][0] - 1))["events"]
                assert seen == [[event["seq"], event["data"]["message"]["text"]] for event in events]
                mine = [text for _, text in seen if text.startswith("mine")]
                assert mine == [f"mine {number}" for number in range(40)]


async def test_a_message_not_yet_stored_survives_a_reload_and_is_sent_once(open_chat: OpenChat, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo") as server:
        ada = await open_chat("ada", "lobby", server.url)
        await expect(ada.composer).to_be_visible()
        await asyncio.to_thread(server.stop)
        await ada.say("written on the train")
        await expect(ada.page.locator("article.sending")).to_have_count(1)
        await asyncio.to_thread(server.start)
        await ada.page.reload()
        await ada.page.wait_for_selector("#username, .frame")
        if await ada.page.locator("#username").count():
            await ada.sign_in("ada")
        await ada.sees("written on the train")
        async with native(server, server.login("ben")) as ben:
            stored = [message["text"] for message in (await ben.call("message.list", room="lobby"))["messages"]]
            assert stored == ["written on the train"]


async def test_a_sign_in_that_has_run_out_is_asked_for_and_the_room_goes_on(
    open_chat: OpenChat, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "data", "--demo") as server:
        ada = await open_chat("ada", "lobby", server.url, clock=True)
        await ada.say("before the weekend")
        await ada.sees("before the weekend")
        await ada.forget_sign_in()
        # The token lives 15 minutes; the line, silent for so long, is given up, and a new one needs a new token.
        await ada.page.clock.fast_forward(16 * 60_000)
        await ada.page.clock.fast_forward(5_000)
        await expect(ada.strip).to_contain_text("Nothing is lost")
        await ada.say("after the weekend")
        await ada.strip.get_by_role("button", name="Sign in").click()
        dialog = ada.page.get_by_role("dialog", name="Sign in again")
        await expect(dialog.get_by_label("Password")).to_be_focused()
        await dialog.get_by_label("Name").fill("ada")
        await dialog.get_by_label("Password").fill("ada")
        await dialog.get_by_role("button", name="Sign in").click()
        await expect(dialog).to_have_count(0)
        await ada.sees("before the weekend", "after the weekend")
        await expect(ada.strip).to_be_hidden()
