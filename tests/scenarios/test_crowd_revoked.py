"""One revocation, many live sockets: how long until the last of them is closed. Told in figures, asserted in fact."""

import asyncio
import base64
import os
import time
from pathlib import Path

import pytest

from tests.crowd import allow_files
from tests.serving import PATIENCE_S, ServerProcess, native

pytestmark = pytest.mark.anyio

SOCKETS = 1000


class Peer(asyncio.Protocol):
    """The barest WebSocket client: it opens, and notes when the close comes. More would be what is measured."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._head = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[tuple[float, bytes]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ("GET /ws HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket")
        more = (f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", f"Authorization: Bearer {self._token}")
        transport.write("\r\n".join((*lines, *more, "", "")).encode())

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            assert self._head.startswith(b"HTTP/1.1 101"), self._head
            self.opened.set_result(None)
            return
        # A close frame: 0x88, its length, the code, the reason (RFC 6455 §5.5.1). It is the last that comes.
        at = data.rfind(b"\x88")
        if at >= 0 and not self.closed.done():
            self.closed.set_result((time.perf_counter(), data[at + 2 :]))

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result((time.perf_counter(), b""))


async def test_a_revocation_closes_every_socket_of_a_subject_and_no_other(tmp_path: Path) -> None:
    allow_files(3 * SOCKETS)  # the server inherits it
    with ServerProcess(tmp_path / "data", limits__connections=0) as server:
        loop = asyncio.get_running_loop()
        tokens = [server.token("crowd", sid=f"s{number}", auth_time=time.time()) for number in range(10)]
        peers: list[Peer] = []
        for begun in range(0, SOCKETS, 50):
            some = [Peer(tokens[number % 10]) for number in range(begun, min(begun + 50, SOCKETS))]
            await asyncio.gather(
                *(loop.create_connection(lambda one=one: one, "127.0.0.1", server.port) for one in some)  # type: ignore[misc]
            )
            await asyncio.wait_for(asyncio.gather(*(one.opened for one in some)), PATIENCE_S)
            peers += some
        async with (
            native(server, server.token("root", roles=("admin",))) as root,
            native(server, server.token("ben")) as ben,
        ):
            await ben.call("session.describe")
            begun_s = time.perf_counter()
            assert (await root.call("session.revoke", subject="crowd", reason="enough"))["revoked"] == 1
            answered_s = time.perf_counter()
            ends = await asyncio.wait_for(asyncio.gather(*(peer.closed for peer in peers)), PATIENCE_S)
            assert {said for _, said in ends} == {(4403).to_bytes(2, "big") + b"enough"}
            assert (await ben.call("session.describe"))["subject"] == "ben"
        took_ms = sorted((at_s - begun_s) * 1000 for at_s, _ in ends)
        print(
            f"{SOCKETS} sockets closed by one revocation: median {took_ms[len(took_ms) // 2]:.0f} ms, "
            f"p99 {took_ms[int(len(took_ms) * 0.99)]:.0f} ms, last {took_ms[-1]:.0f} ms; "
            f"the answer came after {(answered_s - begun_s) * 1000:.0f} ms"
        )
        for number in range(10):
            async with native(server, tokens[number]) as again:
                assert await again.closed() == (4401, "token_revoked")
        # Whoever signs in afterwards, in the same second even, is not meant.
        async with native(server, server.token("crowd", sid="later", auth_time=time.time())) as later:
            assert (await later.call("session.describe"))["session"] == "later"
        assert server.stop() == 0
