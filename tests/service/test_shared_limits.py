"""What nodes tell each other of a subject's connections, on a real Valkey."""

import asyncio
from typing import Any

import pytest

from parley.delivery.redis_bus import RedisBus
from parley.service.shared_limits import KILLED_S, SharedLimits
from tests.here import until
from tests.servers import ValkeyServer

pytestmark = pytest.mark.anyio


class Crowd:
    def counts(self) -> list[tuple[str, int, int]]:
        return []

    def replace_one(self, subject: str) -> None:
        raise AssertionError("there is no limit here")


class Node:
    def __init__(self, url: str, letter: str) -> None:
        self.bus = RedisBus(url, node=letter * 16, name="test", random=lambda: 0.0)
        self.living: set[str] = set()
        self.now_s = 0.0
        self._counted = SharedLimits(self.bus, lambda: self.living, lambda: self.now_s).share_connections(Crowd())

    def counts(self, here: int) -> None:
        self._counted("ada", here, 0)

    async def told(self) -> dict[str, int]:
        """Each node's first letter, and its number."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        key = self.bus.key_of("connections:ada")
        self.bus.ask("connections:ada", answer.set_result, b"HGETALL", key)
        told = await answer
        return {name[:1].decode(): int(count) for name, count in told.items()}


async def test_the_number_of_a_node_that_was_killed_is_forgotten_after_a_minute_and_nobody_elses() -> None:
    server = ValkeyServer().start()
    nodes = one, killed, other = Node(server.url, "a"), Node(server.url, "b"), Node(server.url, "c")
    try:
        for node in nodes:
            node.bus.start()
        await until(lambda: all(node.bus.is_up for node in nodes))
        killed.counts(2)
        other.counts(3)
        one.living = {other.bus.node}
        one.counts(1)
        await until_told(one, {"a": 1, "b": 2, "c": 3})
        one.now_s = KILLED_S - 1
        one.counts(2)
        await until_told(one, {"a": 2, "b": 2, "c": 3})
        assert "b" in await one.told()  # whatever came of the answer has been asked before this
        one.now_s = KILLED_S + 1
        one.counts(3)
        await until_told(one, {"a": 3, "c": 3})
    finally:
        for node in nodes:
            await node.bus.stop()
        server.remove()


async def until_told(node: Node, numbers: dict[str, int]) -> None:
    async with asyncio.timeout(10):
        while await node.told() != numbers:
            pass
