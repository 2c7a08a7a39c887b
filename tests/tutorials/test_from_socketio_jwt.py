"""The programs of "From socketio-jwt to Parley": a shop's own tokens, its page, a renewal, a restart, the end."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.npm import need, node_modules
from tests.serving import PATIENCE_S, ServerProcess, die_with_parent, native
from tests.tutorials.running import EXAMPLES

pytestmark = pytest.mark.anyio

SECRET = "the shop's secret, which has 32 bytes at least"


class Page:
    """What the page of the shop has told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line that is wanted, come or still to come."""
        assert self._process.stdout is not None
        for line in self.told:
            if wanted(line):
                return line
        while text := await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S):
            self.told.append(json.loads(text))
            if wanted(self.told[-1]):
                return self.told[-1]
        raise AssertionError(f"the page ended: {self.told}")

    async def says(self, text: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"say": text}).encode() + b"\n")
        before = sum("said" in line for line in self.told)
        await self.until(lambda _: sum("said" in line for line in self.told) > before)
        return [line["said"] for line in self.told if "said" in line][-1]

    async def hears(self, text: str) -> None:
        await self.until(lambda line: line.get("event", {}).get("data", {}).get("message", {}).get("text") == text)

    @property
    def seqs(self) -> list[int]:
        return [line["event"]["seq"] for line in self.told if "event" in line]


@asynccontextmanager
async def page(folder: Path, url: str) -> AsyncIterator[Page]:
    for program in ("login_token.mjs", "room.mjs"):
        shutil.copy(EXAMPLES / program, folder)
    shutil.copy(Path(__file__).with_name("room_of_the_shop.mjs"), folder)
    (folder / "node_modules").symlink_to(node_modules())
    process = await asyncio.create_subprocess_exec(
        need("node", "the tutorial is for those who have it"),
        "room_of_the_shop.mjs",
        url,
        "lobby",
        SECRET,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        yield Page(process)
    finally:
        process.kill()
        await process.wait()


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
