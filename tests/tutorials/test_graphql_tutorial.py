"""The programs of "A room over GraphQL": they renew on the open socket, are cut, repeat nothing, and are signed out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.here import serving
from tests.proxies import proxy
from tests.tutorials.node_page import NodePage, running_page

pytestmark = pytest.mark.anyio


class Page(NodePage):
    """It is given a `token` whenever it wants one."""

    def __init__(self, process: asyncio.subprocess.Process, token: Callable[[], str]) -> None:
        super().__init__(process)
        self._token = token
        self.tokens = 0

    def came(self, line: dict[str, Any]) -> None:
        if "wants" in line:
            self.tokens += 1
            self.order(token=self._token())

    async def says(self, text: str) -> Any:
        self.told = [line for line in self.told if "said" not in line]
        self.order(say=text)
        return (await self.until(lambda line: "said" in line))["said"]

    async def hears(self, text: str) -> None:
        await self.until(lambda line: ((line.get("event") or {}).get("message") or {}).get("text") == text)


@asynccontextmanager
async def page(program: str, folder: Path, url: str, token: Callable[[], str]) -> AsyncIterator[Page]:
    socket = url.replace("http", "ws", 1) + "/graphql"
    async with running_page(folder, "graphql_page.mjs", program, socket, "den", programs=(program,)) as process:
        yield Page(process, token)


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
