"""A crowd of native clients that costs little: plain protocols on one loop, each with just enough of RFC 6455.

For tests with thousands of sockets. What a message means beyond its room and `seq` is not looked at.
"""

import asyncio
import json
import resource
import socket
from collections.abc import Iterable
from typing import Any

from tests.transport.wire import masked, request_head

PATIENCE_S = 60.0


def allow_files(count: int) -> None:
    """Raise this process's limit of open files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Member(asyncio.Protocol):
    """One socket. `seqs` are those of the events it was told of, replayed or live, in the order they came."""

    def __init__(self, crowd: "Crowd", token: str, room: str) -> None:
        self.crowd = crowd
        self.token = token
        self.room = room
        self.seqs: list[int] = []
        self.signals = 0
        self.bytes_in = 0
        self.is_live = False
        self.receive_bytes: int | None = None  # of the kernel's buffer; None leaves it to grow
        self.transport: asyncio.Transport | None = None
        self._buffer = b""
        self._upgraded = False

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        if self.receive_bytes is None:
            await loop.create_connection(lambda: self, "127.0.0.1", self.crowd.port)
            return
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_bytes)
        narrow.setblocking(False)
        await loop.sock_connect(narrow, ("127.0.0.1", self.crowd.port))
        await loop.create_connection(lambda: self, sock=narrow)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._buffer, self._upgraded, self.is_live = b"", False, False
        transport.write(request_head("/ws", f"Authorization: Bearer {self.token}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.is_live = False
        self.crowd.changed.set()

    def call(self, method: str, number: int | None = None, **params: Any) -> None:
        request = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            request["id"] = number
        assert self.transport is not None
        self.transport.write(masked(0x81, json.dumps(request).encode()))

    def subscribe(self) -> None:
        after = {"after": self.seqs[-1]} if self.seqs else {}
        self.call("room.subscribe", 1, room=self.room, **after)

    def data_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        buffer = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, separator, buffer = buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._upgraded = True
            self.subscribe()
        at = 0
        while True:
            end = _end_of_frame(buffer, at)
            if end is None:
                break
            start, stop = end
            self._message(buffer[at] & 15, buffer[start:stop])
            at = stop
        self._buffer = buffer[at:]

    def _message(self, kind: int, payload: bytes) -> None:
        if kind != 1:
            return
        if payload.startswith(b'{"jsonrpc":"2.0","method":"event"'):
            marker = payload.index(b'"seq":') + 6
            self.seqs.append(int(payload[marker : payload.index(b",", marker)]))
        elif payload.startswith(b'{"jsonrpc":"2.0","method":"signal"'):
            self.signals += 1
        elif payload.startswith(b'{"jsonrpc":"2.0","id":1,"result"'):
            result = json.loads(payload)["result"]
            self.seqs.extend(event["seq"] for event in result["events"])
            if result["complete"]:
                self.is_live = True
            else:
                self.subscribe()
        elif payload.startswith(b'{"jsonrpc":"2.0","id":1,"error"'):
            # A node that was starved of its processor is fenced for a moment: it says nothing that it can't vouch for.
            assert b'"code":"unavailable"' in payload, payload
            asyncio.get_running_loop().call_later(0.05, self._subscribe_again)
        self.crowd.told += 1
        self.crowd.changed.set()

    def _subscribe_again(self) -> None:
        if self.transport is not None:
            self.subscribe()

    def stop_reading(self) -> None:
        assert self.transport is not None
        self.transport.pause_reading()


def _end_of_frame(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the (unmasked) frame at `at` begins and ends, None where it is not all there."""
    if len(buffer) < at + 2:
        return None
    size, start = buffer[at + 1], at + 2
    if size == 126:
        size, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
    elif size == 127:
        size, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
    return (start, start + size) if len(buffer) >= start + size and start <= len(buffer) else None


class Crowd:
    """Members of one server; `changed` is set whenever one of them hears something."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.members: list[Member] = []
        self.changed = asyncio.Event()
        self.told = 0

    async def gather(self, tokens: Iterable[str], room: str, *, receive_bytes: int | None = None) -> None:
        """Connect and subscribe them all, some hundred at a time."""
        new = [Member(self, token, room) for token in tokens]
        for member in new:
            member.receive_bytes = receive_bytes
        self.members += new
        await self.connect(new)

    async def connect(self, members: list[Member]) -> None:
        for start in range(0, len(members), 200):
            await asyncio.gather(*(member.connect() for member in members[start : start + 200]))
            await self.until(lambda part=members[start : start + 200]: all(m.is_live for m in part))  # type: ignore[misc]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def leave(self) -> None:
        for member in self.members:
            if member.transport is not None:
                member.transport.abort()
