"""Of many who would broadcast at the same moment, one does; and what curl sends, another curl hears."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from parley.dialects.ogg import Pages
from tests.here import HereServer, serving, until
from tests.ogg import decoded, encoded
from tests.streams import audio, listen, payloads, publish, put, unfenced

pytestmark = pytest.mark.anyio

HEADER_PAGES = 2


@pytest.fixture(autouse=True)
def every_page() -> Iterator[None]:
    with unfenced():
        yield


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    async with serving(tmp_path / "data") as server:
        yield server


async def test_of_many_who_would_broadcast_at_the_same_moment_one_does_and_is_never_disturbed(
    tmp_path: Path, store_url: str
) -> None:
    settings = {"database_url": store_url} if store_url.startswith("postgresql") else {}
    async with serving(tmp_path / "served", **settings) as server:
        token = server.token("ada")
        async with server.native(token) as ada:
            await ada.call("stream.create", stream="show")
            await ada.call("stream.set_publishers", stream="show", subjects=["ben"])
        head, pages = audio(30)
        tokens = [
            token,
            server.token("ada", sid="another"),
            server.token("ben"),
            server.token("root", roles=("admin",)),
        ]
        begins, over = asyncio.Event(), asyncio.Event()

        async def puts(token: str) -> str:
            async with put(server, "show", token, "Expect: 100-continue") as one:
                await begins.wait()
                line = await asyncio.wait_for(one.reader.readline(), 10)
                if line.startswith(b"HTTP/1.1 100"):
                    await one.reader.readline()
                    await one.send(head)
                    for page in pages:
                        await one.send(page)
                    await over.wait()
                    await one.finish()
                    return str(await one.head())
                return line.split()[1].decode()

        async def publishes(token: str) -> str:
            await begins.wait()
            async with publish(server, "show", token) as one:
                try:
                    await one.news(live=True)
                except AssertionError:
                    return str((await one.closed())[0])
                await one.send(head)
                for page in pages:
                    await one.send(page)
                await over.wait()
                assert one.socket.close_code is None
                return "1000"

        async with listen(server, "show") as listener:
            await listener.news()
            asked = [asyncio.ensure_future(ask(token)) for token in tokens for ask in (puts, publishes)]
            begins.set()
            await listener.pages(HEADER_PAGES + len(pages))
            await until(lambda: sum(one.done() for one in asked) == len(asked) - 1)
            over.set()
            outcomes = Counter(await asyncio.gather(*asked))
            assert outcomes["204"] + outcomes["1000"] == 1, outcomes
            assert outcomes["409"] + outcomes["4409"] == len(asked) - 1
            first, *_ = await listener.pages(HEADER_PAGES + len(pages))
            assert first.bos
            heard = Pages().feed(listener.heard)
            assert payloads(heard[HEADER_PAGES:])[: len(pages)] == payloads(Pages().feed(b"".join(pages)))
            assert sum(page.bos for page in heard) == 1


async def test_curl_sends_a_pipe_and_another_curl_hears_it(server: HereServer) -> None:
    token = server.token("ada")
    async with server.native(token) as ada:
        await ada.call("stream.create", stream="show", visibility="members")
    song = await asyncio.to_thread(encoded, 1)
    curl = ("curl", "-s", "-H", f"Authorization: Bearer {token}")
    where, pipe = f"{server.url}/streams/show", asyncio.subprocess.PIPE
    here = server.server.parts.streams
    sends = await asyncio.create_subprocess_exec(
        *curl, "-o", "/dev/null", "-w", "%{http_code}", "-T", "-", where, stdin=pipe, stdout=pipe
    )
    assert sends.stdin is not None
    sends.stdin.write(song[:1000])
    await until(lambda: "show" in here.lines)
    hears = await asyncio.create_subprocess_exec(*curl, where, stdout=pipe)
    second = await asyncio.create_subprocess_exec(*curl, "-T", "-", where, stdin=pipe, stdout=pipe)
    said, _ = await second.communicate(song)
    assert json.loads(said)["code"] == "already_live"
    await until(lambda: here.listeners("show") == 1)
    status, _ = await sends.communicate(song[1000:])
    assert status == b"204"
    heard, _ = await hears.communicate()
    assert len(await asyncio.to_thread(decoded, heard)) > 48_000
