"""Clients of live audio, as plain as they go: `PUT` and `GET` on bare connections, the two sockets by `websockets`.

They send what they are given, at once, and keep what they hear; nothing is checked here.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from unittest.mock import patch

import websockets
from websockets.asyncio.client import ClientConnection, connect

from parley.dialects.ogg import Page, Pages
from parley.service import watch
from tests.here import HereServer
from tests.ogg import headers, link
from tests.serving import PATIENCE_S

PROTOCOL = "parley.stream.v1"


@contextmanager
def unfenced() -> Iterator[None]:
    """For tests that want every page: a machine too busy to poll in time hands out none, and those are gone."""
    with patch.object(watch, "FENCE_S", 3600.0):
        yield


class HttpStream:
    """One request on a connection of its own, its body and its answer's piece by piece."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.heard = b""

    async def send(self, data: bytes) -> None:
        """A chunk of the body."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def finish(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def cut(self) -> None:
        """As a network does it: nothing is said."""
        self.writer.transport.abort()

    async def head(self) -> int:
        """The status, once the head of the answer is there; interim answers are passed over."""
        while self.status < 200:
            lines = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).decode().split("\r\n")
            self.status = int(lines[0].split()[1])
            pairs = (line.partition(": ") for line in lines[1:] if line)
            self.headers = {name.lower(): value for name, _, value in pairs}
        return self.status

    async def chunk(self) -> bytes:
        """The next chunk of the answer, b"" at its end."""
        size = int((await asyncio.wait_for(self.reader.readuntil(b"\r\n"), PATIENCE_S)).strip(), 16)
        data = await self.reader.readexactly(size + 2)
        self.heard += data[:-2]
        return data[:-2]

    async def pages(self, count: int) -> list[Page]:
        """What has been heard, as pages, once there are so many."""
        while len(found := Pages().feed(self.heard)) < count:
            assert await self.chunk(), f"the answer ended after {len(found)} pages"
        return found

    async def to_the_end(self) -> bytes:
        while await self.chunk():
            pass
        return self.heard

    async def refusal(self) -> tuple[int, str]:
        """Status and code of a problem."""
        await self.head()
        body = await asyncio.wait_for(self.reader.readexactly(int(self.headers["content-length"])), PATIENCE_S)
        return self.status, json.loads(body)["code"]


@asynccontextmanager
async def request(
    server: HereServer, method: str, target: str, *lines: str, token: str | None = None
) -> AsyncIterator[HttpStream]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", *lines]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    writer.write("\r\n".join([*head, "", ""]).encode())
    stream = HttpStream(reader, writer)
    try:
        yield stream
    finally:
        writer.transport.abort()


def put(server: HereServer, stream: str, token: str | None, *lines: str) -> Any:
    """A broadcaster by HTTP; nothing of its body is sent yet."""
    return request(server, "PUT", f"/streams/{stream}", "Transfer-Encoding: chunked", *lines, token=token)


def get(server: HereServer, stream: str, *lines: str, token: str | None = None, query: str = "") -> Any:
    return request(server, "GET", f"/streams/{stream}{query}", *lines, token=token)


class StreamSocket:
    """A socket of a stream: pages in `heard`, messages in `said`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard = b""
        self.said: list[dict[str, Any]] = []
        self._moved = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for message in self.socket:
                if isinstance(message, bytes):
                    self.heard += message
                else:
                    self.said.append(json.loads(message))
                self._moved.set()
        self._moved.set()

    async def send(self, data: bytes) -> None:
        await self.socket.send(data)

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The whole answer."""
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}))
        return await self.message(lambda one: one.get("id") == method)

    async def message(self, wanted: Any) -> dict[str, Any]:
        """The first that is wanted, come or still to come; it is taken out."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for one in self.said:
                    if wanted(one):
                        self.said.remove(one)
                        return one
                assert not self._reading.done(), f"closed with {self.socket.close_code}: {self.said}"
                self._moved.clear()
                await self._moved.wait()

    async def news(self, **facts: Any) -> dict[str, Any]:
        """The stream as a `stream.changed` tells it, once these facts are so."""

        def wanted(one: dict[str, Any]) -> bool:
            params = one.get("params", {})
            if one.get("method") != "signal" or params["type"] != "stream.changed":
                return False
            return all(params["data"]["stream"][name] == value for name, value in facts.items())

        return (await self.message(wanted))["params"]["data"]["stream"]

    async def pages(self, count: int) -> list[Page]:
        async with asyncio.timeout(PATIENCE_S):
            while len(found := Pages().feed(self.heard)) < count:
                assert not self._reading.done(), f"closed with {self.socket.close_code}"
                self._moved.clear()
                await self._moved.wait()
        return found

    async def closed(self) -> tuple[int | None, str | None]:
        await asyncio.wait_for(self.socket.wait_closed(), PATIENCE_S)
        await self._reading
        return self.socket.close_code, self.socket.close_reason

    def cut(self) -> None:
        self.socket.transport.abort()


@asynccontextmanager
async def stream_socket(
    server: HereServer, stream: str, what: str, token: str | None = None, **options: Any
) -> AsyncIterator[StreamSocket]:
    url = server.url.replace("http", "ws", 1) + f"/streams/{stream}/{what}" + options.pop("query", "")
    protocols = [PROTOCOL] + ([f"bearer.{token}"] if token is not None else [])
    async with connect(url, subprotocols=protocols, **options) as socket:  # type: ignore[arg-type]
        yield StreamSocket(socket)


def listen(server: HereServer, stream: str, token: str | None = None, **options: Any) -> Any:
    return stream_socket(server, stream, "listen", token, **options)


def publish(server: HereServer, stream: str, token: str | None = None, **options: Any) -> Any:
    return stream_socket(server, stream, "publish", token, **options)


def payloads(pages: Iterable[Page]) -> list[bytes]:
    """The packets of audio pages: what is the same however the pages are numbered."""
    return [packet for page in pages for packet in page.packets()]


def audio(pages: int, *, serial: int = 1, packets: int = 1) -> tuple[bytes, list[bytes]]:
    """Header pages as one, and pages of so many packets of 20 ms each."""
    made = link(pages, serial=serial, packets=packets, ends=False)
    head = headers(serial=serial)
    return b"".join(page.data for page in head), [page.data for page in made[len(head) :]]
