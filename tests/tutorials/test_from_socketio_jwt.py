"""The programs of "From socketio-jwt to Parley": a shop's own tokens, its page, a renewal, a restart, the end."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.serving import ServerProcess, native
from tests.tutorials.node_page import NodePage, running_page

pytestmark = pytest.mark.anyio

SECRET = "the shop's secret, which has 32 bytes at least"


class Page(NodePage):
    """The page of the shop."""

    async def says(self, text: str) -> Any:
        self.order(say=text)
        before = sum("said" in line for line in self.told)
        await self.until(lambda _: sum("said" in line for line in self.told) > before)
        return [line["said"] for line in self.told if "said" in line][-1]

    async def hears(self, text: str) -> None:
        await self.until(lambda line: line.get("event", {}).get("data", {}).get("message", {}).get("text") == text)


@asynccontextmanager
async def page(folder: Path, url: str) -> AsyncIterator[Page]:
    programs = ("login_token.mjs", "room.mjs")
    async with running_page(folder, "room_of_the_shop.mjs", url, "lobby", SECRET, programs=programs) as process:
        yield Page(process)


async def test_the_shop_talks_renews_comes_back_and_is_signed_out(tmp_path: Path) -> None:
    secret_file = tmp_path / "shop.secret"
    secret_file.write_text(SECRET)
    issuer = {
        "name": "shop",
        "issuer": "shop",
        "audience": "parley",
        "secret_file": str(secret_file),
        "roles_claim": "roles",
        "allowed_roles": ["member", "agent"],
    }
    server = ServerProcess(tmp_path / "data", auth__issuers=json.dumps([issuer])).start()
    folder = tmp_path / "page"
    folder.mkdir()
    try:
        ben = server.token("ben")
        async with native(server, ben) as host:
            await host.call("room.create", room="lobby")
            async with page(folder, server.url) as shop:
                await host.call("message.send", room="lobby", text="welcome")
                await shop.hears("welcome")
                # A stranger may read a public room, and speaks once a member.
                await host.call("room.invite", room="lobby", subject="shop:42")
                sent = (await shop.says("hello"))["result"]["message"]
                assert sent["sender"] == {"subject": "shop:42", "name": "Ada", "type": "account"}
                # Its first token was near its end: it was asked for another, and lives on by it.
                await shop.until(lambda _: sum("token" in line for line in shop.told) == 2)

                assert server.stop() == 0
                server.start()
                async with native(server, ben) as again:
                    await again.call("message.send", room="lobby", text="while you were away")
                await shop.hears("while you were away")
                assert (await shop.says("I am back"))["result"]["duplicate"] is False
                await shop.hears("I am back")
                assert shop.seqs == list(range(1, len(shop.seqs) + 1)), "no gap and no repeat"

                async with native(server, server.token("root", roles=("admin",))) as admin:
                    await admin.call("session.revoke", subject="shop:42", reason="that is enough")
                assert (await shop.until(lambda line: "end" in line))["end"] == "that is enough"
    finally:
        server.kill()
