"""A client of plain bytes, and a server on the classes under test in the same loop.

The client knows no more of RFC 6455 than the tests need; `websockets` is the second opinion where one is wanted.
"""

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvloop
from uvicorn.server import ServerState

from parley.transport.upgrade import Accept, Refuse, UpgradeRequest, upgrade_protocol
from parley.transport.websocket import WebSocket
from tests.interop.conformance import Echo, config

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x37\xfa\x21\x3d"
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
TIMEOUT_S = 15.0

Respond = Callable[[Accept | Refuse], bool]
Frame = tuple[int, bytes]


def run(scene: Coroutine[Any, Any, None], timeout_s: float = 60.0) -> None:
    """Runs a scene on a loop of its own; one that hangs fails."""
    uvloop.run(asyncio.wait_for(scene, timeout_s))


def masked(first: int, payload: bytes = b"") -> bytes:
    """A client's frame: `first` is its first byte, fin and reserved bits included."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 128 | size))
    elif size < 65_536:
        head = bytes((first, 254)) + struct.pack("!H", size)
    else:
        head = bytes((first, 255)) + struct.pack("!Q", size)
    key = (MASK * (size // 4 + 1))[:size]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + MASK + body


def closing(code: int, reason: bytes = b"") -> bytes:
    return masked(CLOSE, code.to_bytes(2, "big") + reason)


def text(data: str | bytes) -> bytes:
    return masked(TEXT, data if isinstance(data, bytes) else data.encode())


HELLO, HELLO_BACK = text("hello"), (TEXT, b"hello")


def request_head(path: str = "/echo", *extra: str, method: str = "GET", without: Iterable[str] = ()) -> bytes:
    """An upgrade request; `extra` are header lines, `without` names of the usual ones to leave out."""
    usual = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in without]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, *extra, "", ""]).encode("latin-1")


class Recorder(Echo):
    """An echo that remembers what it was told, by name."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.changed = asyncio.Event()

    def _note(self, what: Any) -> None:
        self.heard.append(what)
        self.changed.set()

    def opened(self, ws: WebSocket, /) -> None:
        super().opened(ws)
        self._note("opened")

    def text(self, data: bytes, /) -> None:
        self._note(("text", data))
        super().text(data)

    def binary(self, data: bytes, /) -> None:
        self._note(("binary", data))
        super().binary(data)

    def lost(self) -> None:
        self._note("lost")

    async def until(self, what: Any) -> None:
        """Returns when it has heard `what`."""
        while what not in self.heard:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), TIMEOUT_S)


class Server:
    """Where it listens, who is connected, and what the receivers of its sockets heard."""

    def __init__(self, port: int, state: ServerState) -> None:
        self.port = port
        self.state = state
        self.receivers: list[Recorder] = []

    def receiver(self) -> Recorder:
        return self.receivers[-1]

    async def until_nobody_is_connected(self) -> None:
        while self.state.connections:
            await asyncio.sleep(0)


@asynccontextmanager
async def listening(
    decide: Callable[[UpgradeRequest, Respond], object] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    clock: Callable[[], float] | None = None,
    **options: Any,
) -> AsyncIterator[Server]:
    """A server in this loop. Without `decide`, every upgrade gets a `Recorder` with a limit of 16 MiB.

    `options` are uvicorn's settings.
    """
    state = ServerState()
    server = Server(0, state)

    def accept(request: UpgradeRequest, respond: Respond) -> None:
        receiver = Recorder()
        server.receivers.append(receiver)
        respond(Accept(receiver, message_bytes_max=16 * 1024 * 1024))

    settings = config(ws=upgrade_protocol(decide or accept, clock=clock), **options)
    settings.load()
    listener = await asyncio.get_running_loop().create_server(
        lambda: settings.http_protocol_class(config=settings, server_state=state, app_state={}),  # type: ignore[call-arg]
        "127.0.0.1",
        0,
        ssl=tls,
    )
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort() if hasattr(connection, "transport") else connection.abort()  # type: ignore
        await server.until_nobody_is_connected()


class Peer:
    """The client's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.head = b""
        self._bytes = b""

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int | None = None) -> "Peer":
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = cls(sock)
        await peer.loop.sock_connect(sock, ("127.0.0.1", port))
        return peer

    @classmethod
    async def upgraded(cls, port: int, path: str = "/echo", *extra: str, receive_buffer: int | None = None) -> "Peer":
        """Connected, and past the 101."""
        peer = await cls.connect(port, receive_buffer=receive_buffer)
        await peer.send(request_head(path, *extra))
        head = await peer.read_head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    async def __aenter__(self) -> "Peer":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.sock.close()

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def _more(self) -> bool:
        data = await asyncio.wait_for(self.loop.sock_recv(self.sock, 65_536), TIMEOUT_S)
        self._bytes += data
        return bool(data)

    async def read_head(self) -> bytes:
        """The head of an HTTP answer, or what there was of it before the end."""
        while b"\r\n\r\n" not in self._bytes and await self._more():
            pass
        self.head, _, self._bytes = self._bytes.partition(b"\r\n\r\n")
        return self.head

    async def read_all(self) -> bytes:
        """Everything up to the end of the stream. Raises ConnectionResetError."""
        while await self._more():
            pass
        data, self._bytes = self._bytes, b""
        return data

    async def frame(self) -> Frame:
        """The next frame as (first byte, payload); it must not be masked. Raises EOFError at the end of the stream."""
        while True:
            frame = self._take_frame()
            if frame is not None:
                return frame
            if not await self._more():
                raise EOFError

    def _take_frame(self) -> Frame | None:
        data = self._bytes
        if len(data) < 2:
            return None
        size, start = data[1], 2
        assert size < 128, "a server's frame must not be masked"
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start or len(data) < start + size:
            return None
        self._bytes = data[start + size :]
        return data[0], data[start : start + size]

    async def frames_to_the_end(self) -> list[Frame]:
        """All frames until the server ends the stream, which it must do properly (no reset)."""
        frames = []
        with suppress(EOFError):
            while True:
                frames.append(await self.frame())
        assert self._bytes == b"", "the stream ended within a frame"
        return frames

    async def close_code(self) -> int | None:
        """The code of the server's CLOSE, after whatever comes before it; None where it has none."""
        while True:
            first, payload = await self.frame()
            if first == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else None

    async def send_pieces(self, pieces: Iterable[bytes], ws: WebSocket) -> None:
        """Sends each piece once the server has read the one before it; stops where the server has hung up."""
        there = ws._transport.get_extra_info("socket")
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                await self.send(piece)
                while ws._state < 2 and _unread_bytes(there):
                    await asyncio.sleep(0)


def _unread_bytes(sock: Any) -> int:
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0" * 4))[0])
    except OSError:
        return 0


def halves(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    """`data` cut in two at every place."""
    return ((data[:at], data[at:]) for at in range(1, len(data)))


def single_bytes(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))
