"""The programs of "A room over GraphQL": they renew on the open socket, are cut, repeat nothing, and are signed out."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.here import serving
from tests.npm import need, node_modules
from tests.proxies import proxy
from tests.serving import PATIENCE_S, die_with_parent
from tests.tutorials.running import EXAMPLES

pytestmark = pytest.mark.anyio


class Page:
    """What the page has told so far; `token` is what it is given whenever it wants one."""

    def __init__(self, process: asyncio.subprocess.Process, token: Callable[[], str]) -> None:
        self._process = process
        self._token = token
        self.told: list[dict[str, Any]] = []
        self.tokens = 0

    def _order(self, **what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line that is wanted, come or still to come."""
        assert self._process.stdout is not None
        for line in self.told:
            if wanted(line):
                return line
        while text := await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S):
            line = json.loads(text)
            self.told.append(line)
            if "wants" in line:
                self.tokens += 1
                self._order(token=self._token())
            if wanted(line):
                return line
        raise AssertionError(f"the page ended: {self.told}")

    async def says(self, text: str) -> Any:
        self.told = [line for line in self.told if "said" not in line]
        self._order(say=text)
        return (await self.until(lambda line: "said" in line))["said"]

    async def hears(self, text: str) -> None:
        await self.until(lambda line: ((line.get("event") or {}).get("message") or {}).get("text") == text)

    @property
    def seqs(self) -> list[int]:
        return [line["event"]["seq"] for line in self.told if "event" in line]


@asynccontextmanager
async def page(program: str, folder: Path, url: str, token: Callable[[], str]) -> AsyncIterator[Page]:
    shutil.copy(EXAMPLES / program, folder)
    shutil.copy(Path(__file__).with_name("graphql_page.mjs"), folder)
    (folder / "node_modules").symlink_to(node_modules())
    process = await asyncio.create_subprocess_exec(
        need("node", "the tutorial is for those who have it"),
        "graphql_page.mjs",
        program,
        url.replace("http", "ws", 1) + "/graphql",
        "den",
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        yield Page(process, token)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("program", ["graphql_room.mjs", "graphql_urql.mjs"])
async def test_it_talks_renews_on_the_open_socket_is_cut_and_repeats_nothing(program: str, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    async with (
        serving(tmp_path / "data", limits__ping_interval=0) as server,
        server.native(server.token("ben", ttl_s=9000)) as ben,
        proxy(int(server.url.rsplit(":", 1)[1])) as line,
        page(program, folder, line.url, lambda: server.token("ada", ttl_s=60)) as ada,
    ):
        await ben.call("room.create", room="den")
        await ben.call("room.invite", room="den", subject="ada")
        await ben.call("message.send", room="den", text="welcome")
        await ada.hears("welcome")
        assert ada.tokens == 1
        assert (await ada.says("hello"))["message"]["seq"] == 4
        await ada.hears("hello")

        for tokens in (2, 3):  # its token would have ended twice over
            server.move(40)
            await ada.until(lambda _, tokens=tokens: ada.tokens == tokens)
            await ada.says("still here")
        assert line.accepted == 1, "the socket is the first one still"

        for times in range(1, 4):
            heard = len(ada.seqs)
            line.cut()
            await ben.call("message.send", room="den", text=f"while you were away, {heard}")
            await ada.hears(f"while you were away, {heard}")
            assert (line.accepted, ada.tokens) == (1 + times, 3 + times), "each retry asks for the token of now"
        assert ada.seqs == list(range(1, len(ada.seqs) + 1)), "no gap and no repeat"

        async with server.native(server.token("root", roles=("admin",))) as root:
            await root.call("session.revoke", subject="ada", reason="that is enough")
        assert (await ada.until(lambda line: "end" in line))["end"] == "that is enough"
