"""A request for a session that lives on another node is handed on to it, and its answer back.

An Engine.IO `sid` begins with the name of its node. Between workers of one machine a UNIX socket is used, between
machines HTTP; what is handed on says so under a key that all nodes have, and is handed on no further, but for the last
step inside one machine. Which nodes there are is told by whoever made this.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from parley.domain.errors import Refusal
from parley.transport.bodies import until_gone
from parley.transport.upgrade import UpgradeRequest

log = logging.getLogger(__name__)

HEADER: Final = "parley-handed-on"
NODE_CHARS: Final = 16
CONNECT_S: Final = 2.0
#: What a proof of handing on may differ by from our clock.
CLOCKS_S: Final = 120
HEAD_BYTES_MAX: Final = 65_536
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "content-length", "expect", HEADER}
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def unknown_session() -> Refusal:
    return Refusal("invalid_request", "There is no session of this `sid`.")


class HandingOn:
    """`address_of(node)` is "URL" or "URL PATH" (of its UNIX socket) of another node that lives, else None.

    `key` is what all nodes share; `clock_s` gives Unix seconds.
    """

    def __init__(
        self, node: str, address_of: Callable[[str], str | None], key: Callable[[], bytes], clock_s: Callable[[], float]
    ) -> None:
        self._node = node
        self._address_of = address_of
        self._key = key
        self._clock_s = clock_s

    def elsewhere(self, sid: str, headers: Iterable[tuple[str, str]]) -> str | None:
        """The address of the node that has this session, where that is another one that may be asked."""
        node = sid[:NODE_CHARS]
        if node == self._node:
            return None
        address = self._address_of(node)
        if address is not None and self.was_handed_on(headers) and _socket_of(address) is None:
            return None
        return address

    def was_handed_on(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether another node of ours says that it hands this on."""
        for name, value in headers:
            if name == HEADER:
                at, _, proof = value.partition(".")
                if at.isascii() and at.isdigit() and abs(self._clock_s() - int(at)) < CLOCKS_S:
                    return hmac.compare_digest(proof.encode(), self._proof(at).encode())
        return False

    def _proof(self, at: str) -> str:
        return hmac.digest(self._key(), f"handed on|{at}".encode(), hashlib.sha256).hex()

    def _head(self, method: str, target: str, headers: Iterable[tuple[str, str]], more: Iterable[str]) -> bytes:
        at = str(int(self._clock_s()))
        kept = [f"{name}: {value}" for name, value in headers if name not in _HOP_BY_HOP]
        lines = [f"{method} {target} HTTP/1.1", *kept, f"{HEADER}: {at}.{self._proof(at)}", *more]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    # --- a request and its answer ---

    async def ask(self, address: str, target: str) -> bytes:
        """The body of what another node answers to a GET of our own. Raises: OSError, TimeoutError, ValueError."""
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await _connected(address)
            try:
                writer.write(self._head("GET", target, [("host", "localhost")], ["connection: close"]))
                status, _, body = await _answer(reader)
            finally:
                writer.close()
        if status != 200:
            raise ValueError(f"another node answered {status}")
        return body

    async def request(self, address: str, request: Request, body: bytes, send: Send) -> None:
        """Ask the other node, and send its answer. Raises: Refusal, where that can't be reached."""
        query = request.scope["query_string"].decode("latin-1")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]]
        more = [f"content-length: {len(body)}", "connection: close"]
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await _connected(address)
        except (OSError, TimeoutError):
            raise unknown_session() from None
        gone = asyncio.ensure_future(until_gone(request.receive))
        answering = asyncio.ensure_future(_answer(reader))
        try:
            writer.write(self._head(request.method, f"{request.url.path}?{query}", headers, more) + body)
            await asyncio.wait((gone, answering), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            try:
                status, told, content = answering.result()
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                raise unknown_session() from None
            kept = {name: value for name, value in told if name not in _HOP_BY_HOP and name not in ("date", "server")}
            await Response(content, status, kept)(request.scope, request.receive, send)
        finally:
            gone.cancel()
            answering.cancel()
            writer.close()

    # --- an upgrade ---

    def tunnel(self, address: str, request: UpgradeRequest) -> "Tunnel":
        """What becomes of an upgrade that is the other node's to answer."""
        target = f"{request.path}?{request.query}"
        return Tunnel(address, self._head(request.method, target, request.headers, ["connection: Upgrade"]))


class Tunnel:
    """A client's transport and another node's, joined until either ends: what one brings is written to the other."""

    def __init__(self, address: str, head: bytes) -> None:
        self._address = address
        self._head = head

    def begin(self, transport: asyncio.Transport, early: bytes, members: set[Any]) -> None:
        """`transport` is the client's; `members` is uvicorn's set of connections."""
        side = _Side(members)
        side.transport = transport
        members.add(side)
        transport.set_protocol(side)
        transport.pause_reading()
        side.task = asyncio.get_running_loop().create_task(self._join(side, early))

    async def _join(self, side: "_Side", early: bytes) -> None:
        loop = asyncio.get_running_loop()
        other = _Side(None)
        path, url = _socket_of(self._address), urlsplit(self._address.split(" ")[0])
        try:
            async with asyncio.timeout(CONNECT_S):
                if path is not None:
                    await loop.create_unix_connection(lambda: other, path)
                else:
                    await loop.create_connection(lambda: other, url.hostname or "", url.port or 80)
        except (OSError, TimeoutError):
            side.transport.close()
            return
        side.other, other.other = other, side
        if side.transport.is_closing():
            other.transport.close()
            return
        other.transport.write(self._head + early)
        side.transport.resume_reading()


class _Side(asyncio.Protocol):
    """One end of a tunnel. The client's is among uvicorn's connections, which closes it when it stops."""

    transport: asyncio.Transport

    def __init__(self, members: set[Any] | None) -> None:
        self._members = members
        self.other: _Side | None = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._members is not None:
            self._members.discard(self)
        if self.other is not None:
            self.other.transport.close()

    def shutdown(self) -> None:
        self.transport.close()


def _socket_of(address: str) -> str | None:
    """The UNIX socket of a node on this machine."""
    path = address.partition(" ")[2]
    return path if path and Path(path).exists() else None


async def _connected(address: str) -> Streams:
    path, url = _socket_of(address), urlsplit(address.split(" ")[0])
    if path is not None:
        return await asyncio.open_unix_connection(path, limit=HEAD_BYTES_MAX)
    return await asyncio.open_connection(url.hostname, url.port or 80, limit=HEAD_BYTES_MAX)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of what one of our own says. Raises: ValueError, IncompleteReadError, OSError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2])]
    length = int(dict(headers).get("content-length", "0"))
    if not 0 <= length <= ANSWER_BYTES_MAX:
        raise ValueError("too long an answer")
    return status, headers, await reader.readexactly(length)
