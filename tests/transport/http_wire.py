"""HTTP by hand, one connection a client: what a test of polls needs, and no more."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.transport.wire import Peer


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Http(Peer):
    """`async with await Http.connect(port) as http`; requests follow one another on its connection."""

    async def ask(self, method: str, target: str, body: bytes | None = None, *headers: str) -> Answer:
        await self.send(request(method, target, body, *headers))
        return await self.answer()

    async def answer(self) -> Answer:
        head = (await self.read_head()).decode("latin-1").split("\r\n")
        assert head[0], "the answer was cut short"
        headers = dict(line.lower().split(": ", 1) for line in head[1:])
        size = int(headers.get("content-length", 0))
        while len(self._bytes) < size:
            assert await self._more(), "the answer was cut short"
        body, self._bytes = self._bytes[:size], self._bytes[size:]
        return Answer(int(head[0].split()[1]), headers, body)


def request(method: str, target: str, body: bytes | None = None, *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class PolledSession:
    """One session over HTTP: a connection for its polls, one for what it sends."""

    def __init__(self, port: int, path: str, polls: Http, posts: Http) -> None:
        self.port = port
        self.path = path
        self.polls = polls
        self.posts = posts
        self.opened: dict[str, Any] = {}

    @classmethod
    async def open(cls, port: int, path: str = "/engine.io/") -> "PolledSession":
        session = cls(port, path, await Http.connect(port), await Http.connect(port))
        answer = await session.polls.ask("GET", f"{path}?EIO=4&transport=polling")
        assert answer.status == 200
        session.opened = json.loads(answer.text[1:])
        return session

    @property
    def query(self) -> str:
        return f"{self.path}?EIO=4&transport=polling&sid={self.opened['sid']}"

    @property
    def socket_path(self) -> str:
        return f"{self.path}?EIO=4&transport=websocket&sid={self.opened['sid']}"

    async def poll(self) -> Answer:
        return await self.polls.ask("GET", self.query)

    async def post(self, body: bytes) -> Answer:
        return await self.posts.ask("POST", self.query, body)

    def polling(self) -> "asyncio.Task[Answer]":
        return asyncio.ensure_future(self.poll())

    async def is_over(self) -> bool:
        async with await Http.connect(self.port) as http:
            return (await http.ask("GET", self.query)).status == 400

    async def __aenter__(self) -> "PolledSession":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.polls.sock.close()
        self.posts.sock.close()
