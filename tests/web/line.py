"""A TCP line that can be cut, or made to swallow bytes without closing, as a train does in a tunnel.

Knows nothing of what runs through it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Line:
    """A proxy from a port of its own to `target`; each connection that it carries can be hurt."""

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self._swallowing: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallowed_bytes = 0
        self.accepted = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def swallow(self) -> None:
        """Nothing passes the open connections any more, either way, and none of them closes. New ones work."""
        self._swallowing |= self._open

    def cut(self) -> None:
        """Reset the connections that are open."""
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._open |= pair
        try:
            ways = [
                asyncio.ensure_future(self._pump(reader, far_writer)),
                asyncio.ensure_future(self._pump(far_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            self._open -= pair
            for one in pair:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if writer in self._swallowing:
                    self.swallowed_bytes += len(data)
                    continue
                writer.write(data)
                await writer.drain()
            # The end of a swallowed connection is swallowed too: the other side must not learn of it.
            while writer in self._swallowing:
                await asyncio.sleep(3600)
        except ConnectionError:
            pass


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    """A line whose port is known before there is anything to lead to: set `target` before it is used."""
    one = Line()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one._carry(reader, writer)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    one.port = listening.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        listening.close()
        one.cut()
