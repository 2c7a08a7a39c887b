"""A plain Socket.IO client of our own, with the face of `NativeClient`: the stories of the one are told to the other.

Knows no more of Engine.IO and Socket.IO than it needs, and nothing of our codecs. It does not reconnect: the clients of
npm and PyPI do, in `interop/`.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import httpx2
import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.serving import PATIENCE_S, CommandRefused, NativeClient

Transport = Literal["websocket", "polling", "upgrade"]


class Refused(Exception):
    """A `connect_error`, as it came."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said["message"])
        self.said = said


class SocketIoClient(NativeClient):
    """Calls commands and keeps what the server says by itself in `news`, written as the native dialect has it.

    `disconnected` says whether a DISCONNECT came; `sid` is the connection's id, once it is connected.
    """

    socket: ClientConnection | None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.news = []
        self.socket = None
        self.http: httpx2.AsyncClient | None = None
        self.disconnected = False
        self.sid = ""
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._came = asyncio.Event()
        self._joined: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._close: tuple[int | None, str | None] = (None, None)
        self._upgrading: asyncio.Future[None] | None = None
        self.payloads: list[str] = []

    # --- the transports ---

    async def open(self, url: str, transport: Transport, headers: dict[str, str], query: str = "") -> None:
        """Raises: httpx2.HTTPStatusError, websockets.InvalidStatus."""
        base = url + "/socket.io/?EIO=4" + (f"&{query}" if query else "")
        if transport == "websocket":
            self.socket = await connect(
                base.replace("http", "ws", 1) + "&transport=websocket", additional_headers=headers, max_size=None
            )
            self._packet(str(await self.socket.recv()))
            self._reading = asyncio.ensure_future(self._read_socket(self.socket))
            return
        self.http = httpx2.AsyncClient(
            headers=headers, timeout=PATIENCE_S * 3, verify=False
        )  # no TLS: no store of roots
        answer = await self.http.get(base + "&transport=polling")
        if answer.status_code != 200:
            await self.http.aclose()
            self.http = None
        answer.raise_for_status()
        self._packet(answer.text)
        self._url = f"{url}/socket.io/?EIO=4&transport=polling&sid={self.engine['sid']}"
        self._reading = asyncio.ensure_future(self._poll())
        if transport == "upgrade":
            await self._upgrade(base.replace("http", "ws", 1), headers)

    async def _upgrade(self, base: str, headers: dict[str, str]) -> None:
        socket = await connect(
            f"{base}&transport=websocket&sid={self.engine['sid']}", additional_headers=headers, max_size=None
        )
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
        self.rest()
        await self._reading  # the poll that waited is answered, and no other begins
        await socket.send("5")
        self.socket = socket
        self._reading = asyncio.ensure_future(self._read_socket(socket))

    def rest(self) -> None:
        """Begin no poll after the one that waits."""
        self._upgrading = asyncio.get_running_loop().create_future()

    def poll_on(self) -> None:
        self._upgrading = None
        self._reading = asyncio.ensure_future(self._poll())

    async def _poll(self) -> None:
        assert self.http is not None
        while self._upgrading is None:
            try:
                answer = await self.http.get(self._url)
            except httpx2.TransportError:
                break
            if answer.status_code != 200:
                break
            self.payloads.append(answer.text)
            packets = answer.text.split("\x1e")
            for packet in packets:
                self._packet(packet)
            if "1" in packets:
                break
        else:
            return
        self._over()

    async def _read_socket(self, socket: ClientConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            async for text in socket:
                self._packet(str(text))
        if self._close[0] is None:
            self._close = socket.close_code, socket.close_reason
        self._over()

    def _over(self) -> None:
        self._came.set()
        for answer in self._answers.values():
            answer.cancel()
        if not self._joined.done():
            self._joined.cancel()

    async def send(self, packet: str) -> None:
        """One Engine.IO packet, by whichever transport it lives on."""
        if self.socket is not None:
            await self.socket.send(packet)
        else:
            assert self.http is not None
            answer = await self.http.post(self._url, content=packet.encode())
            assert (answer.status_code, answer.text) == (200, "ok"), answer

    def _soon(self, packet: str) -> None:
        async def send() -> None:
            with suppress(websockets.ConnectionClosed, httpx2.TransportError, AssertionError):
                await self.send(packet)

        self._sending = asyncio.ensure_future(send())

    # --- the packets ---

    def _packet(self, packet: str) -> None:
        match packet[:2]:
            case "0{":
                self.engine: dict[str, Any] = json.loads(packet[1:])
            case "2":
                self._soon("3")
            case "40":
                self._joined.set_result(json.loads(packet[2:])["sid"])
            case "44" if packet[2] == "{":
                refused = Refused(json.loads(packet[2:]))
                self._close = refused.said.get("data", {}).get("status", 0) + 4000, refused.said["message"]
                self._joined.set_exception(refused)
            case "41":
                self.disconnected = True
            case "42":
                name, body = json.loads(packet[2:])
                self.news.append({"jsonrpc": "2.0", "method": name, "params": body})
            case "43":
                digits, _, rest = packet[2:].partition("[")
                answer = self._answers.pop(int(digits), None)
                if answer is not None and not answer.done():
                    answer.set_result(json.loads("[" + rest)[0])
            case _:
                assert packet in ("1", "6"), packet
        self._came.set()

    async def join(self, token: str | None = None) -> str:
        """CONNECT; the connection's id. Raises: Refused."""
        await self.send("40" + (json.dumps({"token": token}) if token is not None else ""))
        self.sid = await asyncio.wait_for(self._joined, PATIENCE_S)
        return self.sid

    async def _called(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.send(f"42{number}" + json.dumps([method, params]))
        said = await asyncio.wait_for(answer, PATIENCE_S)
        if "error" in said:
            error = said["error"]
            raise CommandRefused({"message": error["message"], "data": error["data"]})
        return said["result"]

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for one in self.news:
                    if wanted(one):
                        return one
                if self._reading.done() and self._upgrading is None:
                    raise AssertionError(f"the session ended with {self._close}; news: {self.news}")
                self._came.clear()
                await self._came.wait()

    async def closed(self) -> tuple[int | None, str | None]:
        """Code and reason, once the transport has ended: the WebSocket's, over HTTP what the server said before."""
        await asyncio.wait_for(self._reading, PATIENCE_S)
        if self._close[0] is None:
            said = [one["params"] for one in self.news if one["method"] == "session.closing"]
            self._close = (said[-1]["code"], said[-1]["reason"]) if said else (None, None)
        return self._close

    async def leave(self) -> None:
        if self.socket is not None:
            await self.socket.close()
        if self.http is not None:
            if self.socket is None and not self._reading.done():
                with suppress(AssertionError, httpx2.TransportError):
                    await self.send("1")
            with suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(self._reading, 1)
            await self.http.aclose()


@asynccontextmanager
async def socketio(
    url: str,
    token: str | None = None,
    transport: Transport = "websocket",
    *,
    headers: dict[str, str] | None = None,
    query: str = "",
    joins: bool = True,
) -> AsyncIterator[SocketIoClient]:
    """A connected client, its token in CONNECT's `auth`."""
    client = SocketIoClient()
    try:
        await client.open(url, transport, headers or {}, query)
        if joins:
            await client.join(token)
        yield client
    finally:
        await client.leave()
