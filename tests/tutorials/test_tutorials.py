"""The tutorials' programs, short enough to read, refuse, renew and expire real clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.libraries import library
from tests.npm import need, node_modules
from tests.tutorials.running import EXAMPLES, PATIENCE_S, Chat, running

pytestmark = pytest.mark.anyio

SOCKETS = ["websockets_chat", "starlette_chat", "fastapi_chat"]

each_socket = pytest.mark.parametrize("name", SOCKETS)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def needs(name: str) -> None:
    if name in ("fastapi_chat", "socketio_chat"):
        library(name.removesuffix("_chat"))


@pytest.mark.parametrize("program", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_a_tutorials_program_has_25_lines_at_most_and_its_page_shows_it(program: Path) -> None:
    assert len(program.read_text().splitlines()) <= 25
    pages = "".join(page.read_text() for page in EXAMPLES.parent.glob("*.md"))
    assert f"{{literalinclude}} examples/{program.name}\n" in pages


def by_header(chat: Chat, token: str) -> Any:
    return connect(f"ws://127.0.0.1:{chat.port}/", additional_headers={"Authorization": f"Bearer {token}"})


async def said(client: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))


@each_socket
async def test_the_chat_refuses_a_program_by_http(name: str) -> None:
    needs(name)
    async with running(name) as chat:
        with pytest.raises(InvalidStatus) as refused:
            await by_header(chat, chat.token(ttl_s=-1))
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body or b"")["code"] == "token_expired"


@each_socket
async def test_the_chat_renews_a_program_and_ends_it_when_it_no_longer_does(name: str) -> None:
    needs(name)
    async with running(name) as chat, by_header(chat, chat.token()) as client:
        await client.send("hello")
        assert await client.recv() == "ada: hello"
        chat.forward(31)
        assert (await said(client))["method"] == "session.expiring"
        request = {"jsonrpc": "2.0", "id": 1, "method": "session.refresh", "params": {"token": chat.token()}}
        await client.send(json.dumps(request))
        assert (await said(client))["result"]["subject"] == "ada"
        chat.forward(40)
        await client.send("still here")
        assert (await said(client))["method"] == "session.expiring"
        assert await client.recv() == "ada: still here"
        chat.forward(60)
        assert (await said(client))["method"] == "session.closing"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4401, "token_expired")


class Page:
    """The tutorial's page, with npm's `ws` in the place of a browser."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        return json.loads(line or "null")

    def order(self, **what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")


@asynccontextmanager
async def page(chat: Chat) -> AsyncIterator[Page]:
    process = await asyncio.create_subprocess_exec(
        need("node", "the page of the tutorials runs on it here"),
        str(Path(__file__).with_name("play.mjs")),
        str(EXAMPLES / "chat.mjs"),
        f"ws://127.0.0.1:{chat.port}/",
        str(node_modules()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Page(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@each_socket
async def test_the_chat_refuses_a_page_in_a_form_that_it_can_read(name: str) -> None:
    needs(name)
    async with running(name) as chat, page(chat) as ada:
        assert await ada.next() == {"wants": "token"}
        ada.order(token=chat.token(ttl_s=-1))
        assert await ada.next() == {"open": "chat.v1"}
        assert await ada.next() == {"code": 4401, "reason": "token_expired"}


@each_socket
async def test_a_page_renews_itself_and_ends_when_it_no_longer_can(name: str) -> None:
    needs(name)
    async with running(name) as chat, page(chat) as ada:
        assert await ada.next() == {"wants": "token"}
        ada.order(token=chat.token())
        assert await ada.next() == {"open": "chat.v1"}
        for _ in range(3):
            chat.forward(31)
            assert await ada.next() == {"wants": "token"}
            ada.order(token=chat.token())
            # Each message is read when the one before is done with, so this one comes after the renewal.
            ada.order(say="still here")
            assert await ada.next() == {"text": "ada: still here"}
        chat.forward(31)
        assert await ada.next() == {"wants": "token"}
        chat.forward(60)
        assert await ada.next() == {"code": 4401, "reason": "token_expired"}


@pytest.mark.parametrize("name", ["starlette_chat", "fastapi_chat"])
async def test_a_request_is_refused_or_says_whose_it_is(name: str) -> None:
    needs(name)
    async with running(name) as chat, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{chat.port}") as client:
        answer = await client.get("/me", headers={"Authorization": f"Bearer {chat.token()}"})
        assert (answer.status_code, answer.json()) == (200, {"subject": "ada"})
        for headers, code in (
            ({}, "token_missing"),
            ({"Authorization": "Basic YTph"}, "token_missing"),
            ({"Authorization": f"Bearer {chat.token(ttl_s=-1)}"}, "token_expired"),
        ):
            answer = await client.get("/me", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


class SocketIO:
    """The tutorial's client, in Python: what it hears is in `heard`."""

    def __init__(self, chat: Chat) -> None:
        self.sio = library("socketio").AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self._url = f"http://127.0.0.1:{chat.port}"
        for event in ("said", "session.expiring", "session.closing", "connect_error", "disconnect"):
            self.sio.on(event, self._hearing(event))

    def _hearing(self, event: str) -> Any:
        return lambda *data: self.heard.put_nowait((event, data[0] if data else None))

    async def connect(self, token: str) -> None:
        await self.sio.connect(self._url, auth={"token": token}, retry=False, transports=["websocket"])

    async def next(self) -> Any:
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)


async def test_the_socketio_chat_refuses_renews_and_expires() -> None:
    needs("socketio_chat")
    async with running("socketio_chat") as chat:
        refused = SocketIO(chat)
        with pytest.raises(library("socketio").exceptions.ConnectionError):
            await refused.connect(chat.token(ttl_s=-1))
        data = {"code": "token_expired", "status": 401}
        assert await refused.next() == ("connect_error", {"message": "token_expired", "data": data})
        await refused.sio.disconnect()

        ada = SocketIO(chat)
        await ada.connect(chat.token())
        await ada.sio.emit("say", "hello")
        assert await ada.next() == ("said", "ada: hello")
        chat.forward(31)
        assert (await ada.next())[0] == "session.expiring"
        answer = await ada.sio.call("session.refresh", {"token": chat.token()}, timeout=PATIENCE_S)
        assert answer["result"]["subject"] == "ada"
        chat.forward(40)
        assert (await ada.next())[0] == "session.expiring"
        await ada.sio.emit("say", "still here")
        assert await ada.next() == ("said", "ada: still here")
        chat.forward(30)
        closing = {"code": 4401, "reason": "token_expired", "reconnect": True}
        assert await ada.next() == ("session.closing", closing)
        assert (await ada.next())[0] == "disconnect"
        await ada.sio.disconnect()
