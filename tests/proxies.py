"""A TCP proxy that can be hurt in the ways that networks are: slow, stuck, swallowing, one-way, cut.

Knows nothing of what runs through it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """From a port of its own to `target_port`. What is done to it is done to the lines that are open; new ones work.

    `delay_s` holds for every line: how long each piece takes, either way. `is_down`: new lines are cut at once.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.accepted = 0
        self.is_down = False
        self.delay_s = 0.0
        self._lines: set[_Line] = set()
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def swallowed_bytes(self) -> int:
        return sum(line.swallowed_bytes for line in self._lines)

    def black_hole(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Bytes go in and never come out, and nothing is closed, as when a train enters a tunnel."""
        for line in self._lines:
            line.swallows_to_server |= to_server
            line.swallows_to_client |= to_client

    def stall(self) -> None:
        """Nothing is read any more in either direction, so that whoever writes fills its buffers."""
        for line in self._lines:
            line.flowing.clear()

    def flow(self) -> None:
        for line in self._lines:
            line.flowing.set()

    def cut(self) -> None:
        """Reset what is open; both sides learn of it."""
        for line in list(self._lines):
            line.abort()

    async def accepts(self, count: int) -> None:
        """Wait until `count` lines have come since the beginning."""
        while self.accepted < count:
            self._changed.clear()
            await self._changed.wait()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._changed.set()
        if self.is_down:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(writer, far_writer)
        self._lines.add(line)
        ways = [
            asyncio.create_task(self._pump(line, reader, far_writer, is_to_server=True)),
            asyncio.create_task(self._pump(line, far_reader, writer, is_to_server=False)),
        ]
        try:
            await asyncio.wait(ways)
        finally:
            self._lines.discard(line)
            for way in ways:
                way.cancel()
            line.abort()

    async def _pump(
        self, line: "_Line", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_to_server: bool
    ) -> None:
        def swallows() -> bool:
            return line.swallows_to_server if is_to_server else line.swallows_to_client

        try:
            while True:
                await line.flowing.wait()
                data = await reader.read(65536)
                await line.flowing.wait()
                if not data:
                    break
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if swallows():
                    line.swallowed_bytes += len(data)
                    continue
                writer.write(data)
                await writer.drain()
            if swallows():
                await line.gone.wait()  # the end is swallowed too: the other side must not learn of it
            elif writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()  # half-closed: what was written last, a close frame perhaps, still arrives
        except ConnectionError:
            line.abort()


class _Line:
    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._writers = (near, far)
        self.swallows_to_server = False
        self.swallows_to_client = False
        self.swallowed_bytes = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.gone = asyncio.Event()

    def abort(self) -> None:
        self.gone.set()
        self.flowing.set()
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def proxy(target_port: int) -> AsyncIterator[Proxy]:
    """A proxy to a server on this machine."""
    one = Proxy(target_port)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one._carry(reader, writer)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    one.port = listening.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        listening.close()
        one.cut()
