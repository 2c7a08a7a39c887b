"""What a second node costs: CPU for each delivery on either, for an event that nobody reads there, and revocation across.

Two processes on one PostgreSQL and one Valkey, readers of our own that only count; CPU is the servers'. The rows are as
the servers': `scenario`, `server` (here the node), `run`, and the measure.

Messages come at one pace, to one node as to two: a message that comes later finds colder caches and costs more, so that
each answered before the next would measure how long the readers of two nodes take to read.
"""

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop
from tests.cluster import cluster
from tests.serving import NativeClient, ServerProcess, native

from servers import cpu_s

ServerProcess.is_forked = False  # what is measured is started as its users do
DELIVERY, ELSEWHERE, REVOKED = "nodes_delivery", "nodes_elsewhere", "nodes_revoked"
PER_DELIVERY, PER_EVENT, P99 = "cpu_us_per_delivery", "cpu_us_per_event", "revoked_p99_ms"
NODES = {
    "one-node": "the only node",
    "speaking": "of two nodes, the sender's",
    "hearing": "of two nodes, the other",
    "nobody-reads": "the other node, where nobody reads the room",
    "revoking": "sockets of another node",
}
READERS = 300  # on each node
MESSAGES = 400
PACE_S = 0.01
REVOKED_SUBJECTS = 100
SETTINGS = {"limits__messages_per_s": 0, "limits__connections": 0, "limits__ping_interval": 0}


class Counting(asyncio.Protocol):
    """A subscribed socket, hardly looked at: how often the last message came."""

    def __init__(self, head: bytes, wanted: bytes, all_heard: asyncio.Event, left: list[int]) -> None:
        self._head, self._wanted, self._all_heard, self._left = head, wanted, all_heard, left
        self.subscribed = asyncio.get_running_loop().create_future()
        self._tail = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._head)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self._tail = data[-80:]
        if not self.subscribed.done():
            if b"\r\n\r\n" in data and b'"seq"' in data:
                self.subscribed.set_result(None)
        elif self._wanted in data:
            self._tail = b""
            self._left[0] -= 1
            if not self._left[0]:
                self._all_heard.set()


def _masked(text: bytes) -> bytes:
    """A client's text frame, under a key of zeros."""
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + text


async def _read(node: ServerProcess, room: str, all_heard: asyncio.Event, left: list[int]) -> list[Counting]:
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"room.subscribe","params":{"room":"%s"}}' % room.encode()
    loop = asyncio.get_running_loop()
    readers = []
    for number in range(READERS):
        head = (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: parley.v1\r\nAuthorization: Bearer {node.token(f'u{number % 20}')}\r\n\r\n"
        ).encode()
        _, reader = await loop.create_connection(
            lambda head=head: Counting(head, b"the last one", all_heard, left), "127.0.0.1", node.port
        )
        await asyncio.sleep(0)
        readers.append(reader)
    await asyncio.sleep(1)
    for reader in readers:
        reader.transport.write(_masked(subscribe))
    await asyncio.wait_for(asyncio.gather(*(reader.subscribed for reader in readers)), 20)
    return readers


async def _say(client: NativeClient, room: str) -> None:
    begun_s = time.perf_counter()
    for number in range(MESSAGES):
        await asyncio.sleep(max(0.0, begun_s + number * PACE_S - time.perf_counter()))
        await client.call("message.send", room=room, text="the last one" if number == MESSAGES - 1 else f"no {number}")


async def _spent(nodes: list[ServerProcess], readers_on: list[ServerProcess], room: str) -> list[float]:
    """CPU seconds of each node while all messages went to all readers."""
    all_heard, left = asyncio.Event(), [READERS * len(readers_on)]
    async with native(nodes[0], nodes[0].token("root", roles=("admin",))) as root:
        await root.call("room.create", room=room, visibility="public")
        readers = [reader for node in readers_on for reader in await _read(node, room, all_heard, left)]
        await asyncio.sleep(1)
        before = [cpu_s(node.process.pid) for node in nodes if node.process is not None]
        await _say(root, room)
        if readers:
            await asyncio.wait_for(all_heard.wait(), 60)
        after = [cpu_s(node.process.pid) for node in nodes if node.process is not None]
        for reader in readers:
            reader.transport.abort()
    return [b - a for a, b in zip(before, after, strict=True)]


async def _idle_s(node: ServerProcess, seconds: float) -> float:
    assert node.process is not None
    before = cpu_s(node.process.pid)
    await asyncio.sleep(seconds)
    return (cpu_s(node.process.pid) - before) / seconds


async def _revoked_ms(nodes: list[ServerProcess]) -> list[float]:
    """Milliseconds from the answer to a revocation on the one node to the close on the other, while there is talk."""
    one, two = nodes
    found: list[float] = []
    async with native(one, one.token("root", roles=("admin",))) as root:
        await root.call("room.create", room="talk", visibility="public")

        async def talk() -> None:
            for _ in itertools.count():
                await root.call("message.send", room="talk", text="meanwhile")

        talking = asyncio.ensure_future(talk())
        for number in range(REVOKED_SUBJECTS):
            subject = f"gone-{number}"
            async with (
                native(two, two.token(subject)) as client,
                native(one, one.token("root", roles=("admin",))) as by,
            ):
                began_s = time.perf_counter()
                await by.call("session.revoke", subject=subject)
                await client.closed()
                found.append((time.perf_counter() - began_s) * 1000)
        talking.cancel()
    return sorted(found)


async def _measured() -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    deliveries = READERS * MESSAGES
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as directory:
        async with cluster(Path(directory) / "one", random.Random(1), 1, **SETTINGS) as (alone, _):
            (spent_s,) = await _spent(alone.nodes, alone.nodes, "room")
            found[DELIVERY, "one-node"] = {PER_DELIVERY: spent_s / deliveries * 1e6}
        async with cluster(Path(directory) / "two", random.Random(1), 2, **SETTINGS) as (both, _):
            spoke_s, heard_s = await _spent(both.nodes, both.nodes, "room")
            found[DELIVERY, "speaking"] = {PER_DELIVERY: spoke_s / deliveries * 1e6}
            found[DELIVERY, "hearing"] = {PER_DELIVERY: heard_s / deliveries * 1e6}
            idle_s = await _idle_s(both.nodes[1], 2)
            began_s = time.perf_counter()
            _, elsewhere_s = await _spent(both.nodes, [], "elsewhere")
            elsewhere_s -= idle_s * (time.perf_counter() - began_s)
            found[ELSEWHERE, "nobody-reads"] = {PER_EVENT: max(0.0, elsewhere_s / MESSAGES * 1e6)}
            took_ms = await _revoked_ms(both.nodes)
            found[REVOKED, "revoking"] = {P99: took_ms[int(len(took_ms) * 0.99)]}
    return found


def rows(runs: int) -> Iterator[dict[str, Any]]:
    for run in range(runs):
        for (scenario, server), measures in uvloop.run(_measured()).items():
            yield {"scenario": scenario, "server": server, "run": run, **measures}
