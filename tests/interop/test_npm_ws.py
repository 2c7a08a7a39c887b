"""One room, npm's `ws` and our client: the same messages, ids, `seq` and text, in Unicode of every kind."""

import asyncio
import json
import os
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parley.client import connect
from tests.client.following import new_room, take
from tests.npm import need, node_modules
from tests.serving import PATIENCE_S, ServerProcess, die_with_parent

pytestmark = pytest.mark.anyio

#: What transports, JSON and databases have mangled before.
TEXTS = [
    "plain",
    'quotes " and \\ back\\slashes \\u0041 / and <b>&amp;</b>',
    "tab\tand\nline\r\nends",
    "\x01\x1f\x7f\x85 controls",
    "Grüße, ß, İ, ı",
    "e\u0301 decomposed, to be composed",
    "\u1e9b\u0323 two marks",
    "你好，世界 · こんにちは · 안녕하세요",
    "שָׁלוֹם مرحبا بالعالم \u202eoverride\u202c \u2066isolate\u2069",
    "नमस्ते क्षत्रिय · ไทย · བོད་",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 ☃️",
    "𝄞 𐍈 \U0010fffd beyond the basic plane",
    "\u2028 line and \u2029 paragraph separators",
    "\ufeff mark first, \ufffe and \uffff, which are no characters",
    "zero\u200bwidth\u200d\u2060joiners\u00ad",
    "z̸̡̢̛̘͇̝̝͖̱̫̲̫̤̪̙̱̜̼̱̘̥̟a̷l̶g̸o̵",
    "x" * 8000,
    "😀" * 8000,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("npm") / "data", "--demo", limits__messages_per_s=0) as running:
        yield running


async def test_npm_ws_and_our_client_see_the_same_messages(server: ServerProcess) -> None:
    node = need("node", "npm's `ws` runs on it")
    node_modules()
    expected = [unicodedata.normalize("NFC", text) for text in TEXTS]
    async with connect(server.url, username="ada", password="ada") as ada:
        room = await new_room(ada)
        following = await ada.subscribe(room)
        async with connect(server.url, username="ben", password="ben") as ben:
            await ben.call("room.join", room=room)
        # The log: ada and ben join; then each text comes once from npm, and once from us.
        last_seq = 2 + 2 * len(TEXTS)
        process = await asyncio.create_subprocess_exec(
            node,
            *(str(Path(__file__).parent / "ws_client.mjs"), server.ws_url, room, str(last_seq)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TOKEN": server.login("ben")},
            limit=1024 * 1024,
            preexec_fn=die_with_parent,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while await process.stdout.readline() not in (b"ready\n", b""):
                pass  # events of the replay may come before the answer is printed
            for text in TEXTS:
                process.stdin.write(json.dumps(text).encode() + b"\n")
            await process.stdin.drain()
            ours = await asyncio.gather(*(ada.send(room, text) for text in TEXTS))
            printed = [json.loads(line) async for line in process.stdout]
            assert await process.wait() == 0
        theirs = [line for line in printed if "sent" in line]
        assert [line["text"] for line in theirs] == expected
        assert [message["text"] for message in ours] == expected
        heard: list[Any] = [line for line in printed if line.get("type") == "message.created"]
        events = await take(following, 1 + 2 * len(TEXTS))
        seen = [
            {"seq": event["seq"], "type": event["type"], "id": message["id"], "text": message["text"]}
            for event in events
            if (message := event["data"].get("message"))
        ]
        assert heard == seen
        assert [line["seq"] for line in heard] == list(range(3, last_seq + 1))
        assert {line["id"] for line in heard} == {m["id"] for m in ours} | {line["id"] for line in theirs}
