"""One room and three clients by three hands: the page in a browser, `parley chat`, and npm's `ws`."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.client.test_terminal import through_a_pipe
from tests.npm import need, node_modules
from tests.serving import PATIENCE_S, ServerProcess, die_with_parent
from tests.web.conftest import OpenChat

pytestmark = pytest.mark.anyio

FROM_THE_PAGE = ["Grüße aus dem Browser 👩‍👩‍👧", "你好 مرحبا שלום"]
FROM_THE_TERMINAL = ["e\u0301 is composed on the way", "नमस्ते ไทย"]
FROM_NPM = ["𝄞 beyond the basic plane 🏳️‍🌈", "zero\u200bwidth \u2028 separators"]


async def test_all_three_see_the_same_messages_with_the_same_ids_and_seq(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    node = need("node", "npm's `ws` runs on it")
    node_modules()
    token = server.login("ben")
    _, made = server.post(
        "/rpc", {"jsonrpc": "2.0", "id": 1, "method": "room.create", "params": {"title": "Three"}}, server.login("ada")
    )
    room = made["result"]["room"]["id"]
    for name in ("ben", "agent"):
        join = {"jsonrpc": "2.0", "id": 1, "method": "room.join", "params": {"room": room}}
        server.post("/rpc", join, server.login(name))
    # Three joins, then two messages from each.
    script = Path(__file__).resolve().parents[1] / "interop" / "ws_client.mjs"
    npm = await asyncio.create_subprocess_exec(
        *(node, str(script), server.ws_url, room, "9"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TOKEN": server.login("agent")},
        preexec_fn=die_with_parent,
    )
    assert npm.stdin is not None
    assert npm.stdout is not None
    page = await open_chat("ada", room)
    # It prints what it is told, not what it asked for: what is said before it listens it never prints.
    while (line := await asyncio.wait_for(npm.stdout.readline(), PATIENCE_S)) != b"ready\n":
        assert line, "it ended before it listened"
    for text in FROM_THE_PAGE:
        await page.say(text)
        await page.sees(text)
    status, _, err = await through_a_pipe(server.url, room, token, "\n".join(FROM_THE_TERMINAL) + "\n")
    assert status == 0, err
    for text in FROM_NPM:
        npm.stdin.write(json.dumps(text).encode() + b"\n")
    printed = [json.loads(line) async for line in npm.stdout if line.startswith(b"{")]
    assert await asyncio.wait_for(npm.wait(), PATIENCE_S) == 0
    heard = [line for line in printed if line.get("type") == "message.created"]

    listing = {"jsonrpc": "2.0", "id": 1, "method": "message.list", "params": {"room": room}}
    _, answer = server.post("/rpc", listing, token)
    stored = answer["result"]["messages"]
    assert [line["seq"] for line in heard] == [message["seq"] for message in stored] == list(range(4, 10))
    assert [line["id"] for line in heard] == [message["id"] for message in stored]
    assert [line["text"] for line in heard] == [message["text"] for message in stored]
    await expect(page.page.locator("article:not(.sending)")).to_have_count(6)
    assert await page.keys() == [message["id"] for message in stored]
    assert await page.texts() == [message["text"] for message in stored]
    _, out, _ = await through_a_pipe(server.url, room, token, "")
    for message in stored[:4]:
        assert f"{message['sender']['name']}: {message['text']}" in out
