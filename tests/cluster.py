"""Three nodes as processes, with a PostgreSQL and a Valkey of their own, and a balancer that sends each line anywhere.

Made to be hurt: every part can be killed, stopped and started while clients go on.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from parley.store import upgrade_database
from tests.servers import PostgresServer, ValkeyServer
from tests.serving import ServerProcess

#: How often a balancer looks at a node, and how long it waits for its answer.
LOOK_S = 1.0


class Balancer:
    """A TCP proxy: each line goes to a node by chance, and to another where that one refuses, or was not heard of."""

    def __init__(self, nodes: list[ServerProcess], chance: random.Random) -> None:
        self._nodes = nodes
        self._chance = chance
        self._mute: set[int] = set()
        self._lines: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        task.add_done_callback(self._lines.discard)
        try:
            for node in sorted(self._chance.sample(self._nodes, len(self._nodes)), key=self._is_mute):
                with contextlib.suppress(OSError):
                    upstream = await asyncio.open_connection("127.0.0.1", node.port)
                    ways = (_pour(reader, upstream[1]), _pour(upstream[0], writer))
                    tasks = [asyncio.ensure_future(way) for way in ways]
                    try:
                        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for each in tasks:
                            each.cancel()
                        upstream[1].transport.abort()
                    return
        except asyncio.CancelledError:
            pass  # by `stop`; asyncio's own streams can't bear a handler that ends so
        finally:
            writer.transport.abort()

    def _is_mute(self, node: ServerProcess) -> bool:
        return node.port in self._mute

    async def look(self, node: ServerProcess) -> None:
        """Who was stopped by the kernel still takes lines, and says nothing on them."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                    answered = await reader.read(1)
                    writer.transport.abort()
            except (OSError, TimeoutError):
                answered = b""
            (self._mute.discard if answered else self._mute.add)(node.port)
            await asyncio.sleep(LOOK_S)

    def cut(self) -> None:
        """Every line there is."""
        for line in list(self._lines):
            line.cancel()

    async def stop(self) -> None:
        self.cut()
        await asyncio.gather(*self._lines, return_exceptions=True)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


class Cluster:
    def __init__(self, data: Path, postgres: PostgresServer, valkey: ValkeyServer, count: int, **settings: Any) -> None:
        self.postgres = postgres
        self.valkey = valkey
        self._bus_turn = asyncio.Lock()  # what is lost can't be slow
        self._database_changes = 0  # lost, there again, lost…: odd while it is away
        given = {"database_url": postgres.url, "bus_url": valkey.url, **settings}
        self.nodes = [ServerProcess(data, **given) for _ in range(count)]
        for number, node in enumerate(self.nodes):
            node.log_path = data.parent / f"node-{number}.log"

    async def start(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in self.nodes))

    # --- what can befall it ---

    async def kill(self, number: int) -> None:
        await asyncio.to_thread(self.nodes[number].kill)

    async def bring_back(self, number: int) -> None:
        """As a supervisor does: again and again, while what it needs is away."""
        async with asyncio.timeout(60):
            while True:
                changes = self._database_changes
                try:
                    await asyncio.to_thread(self.nodes[number].start)
                except AssertionError:
                    if changes == self._database_changes and not changes % 2:
                        raise
                else:
                    return

    async def roll(self, number: int) -> None:
        """As a deployment does it: drained, and started anew."""
        assert await asyncio.to_thread(self.nodes[number].stop) == 0
        await self.bring_back(number)

    async def pause(self, number: int, seconds: float) -> None:
        process = self.nodes[number].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    async def lose_bus(self, seconds: float) -> None:
        async with self._bus_turn:
            self.valkey.stop()
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.valkey.start)

    async def slow_bus(self, seconds: float) -> None:
        async with self._bus_turn:
            self.valkey.pause()
            await asyncio.sleep(seconds)
            self.valkey.go_on()

    async def lose_database(self, seconds: float) -> None:
        """As after a crash."""
        self._database_changes += 1
        await asyncio.to_thread(self.postgres.stop, signal.SIGQUIT)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.postgres.start)
        self._database_changes += 1


@asynccontextmanager
async def cluster(
    directory: Path, chance: random.Random, count: int = 3, **settings: Any
) -> AsyncIterator[tuple[Cluster, Balancer]]:
    # Every commit is told to the kernel before it is answered: what kills a server leaves that.
    postgres, valkey = PostgresServer(settings=("synchronous_commit=on",)), ValkeyServer()
    made: Cluster | None = None
    server: asyncio.Server | None = None
    balancer: Balancer | None = None
    looking: list[asyncio.Task[None]] = []
    directory.mkdir(exist_ok=True)
    try:
        await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(valkey.start)
        upgrade_database(postgres.url, random_bytes=os.urandom)
        made = Cluster(directory / "data", postgres, valkey, count, **settings)
        await made.start()
        balancer = Balancer(made.nodes, chance)
        server = await asyncio.start_server(balancer.carry, "127.0.0.1", 0)
        balancer.port = server.sockets[0].getsockname()[1]
        looking = [asyncio.ensure_future(balancer.look(node)) for node in made.nodes]
        yield made, balancer
    finally:
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        if server is not None and balancer is not None:
            server.close()
            await balancer.stop()
        for node in made.nodes if made is not None else ():
            node.kill()
        valkey.remove()
        postgres.remove()
