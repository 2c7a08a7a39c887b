"""Faults under load: kills, pauses, a bus and a database that go away. Seeded: `PARLEY_TEST_SEED` repeats a run.

Afterwards: what was acknowledged is there once and in its place, the log has no hole, every reader saw all of it once
and in order, nothing was handed to whom was revoked, and only those who are there are present.
"""

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import websockets

from parley.client import Chat, CommandRefused, ConnectionLost, Reset, State, Timing, connect
from tests.cluster import Balancer, Cluster, cluster
from tests.lengths import LONG
from tests.serving import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900 if LONG else 120)]

SEED = int(os.environ.get("PARLEY_TEST_SEED", "8"))
#: The short form is each kind of fault once.
FAULTS_S = 600 if LONG else 0
TIMING = Timing(retry_s=0.1, retry_max_s=0.5, restart_s=5 if LONG else 1, connect_s=2, silence_s=10, overloaded_s=0.3)
SETTINGS = {"limits__messages_per_s": 0, "limits__ping_interval": 2, "limits__ping_timeout": 3}
PAUSED_S = 30 if LONG else 1.5
KINDS = ("kill", "pause", "lose bus", "slow bus", "lose database")


class Speaker:
    """Says one thing after the other, and keeps what was acknowledged: text -> seq."""

    def __init__(self, name: str, url: str, token: str) -> None:
        self.name = name
        self.acknowledged: dict[str, int] = {}
        self.refusals = 0
        self.away_s: list[float] = []
        self._left_at_s: float | None = None
        self.chat = connect(url, token=token, timing=TIMING, on_state=self._entered)

    def _entered(self, state: State) -> None:
        if state.name == "live" and self._left_at_s is not None:
            self.away_s.append(time.monotonic() - self._left_at_s)
            self._left_at_s = None
        elif state.name == "reconnecting" and self._left_at_s is None:
            self._left_at_s = time.monotonic()

    async def run(self, until: asyncio.Event) -> None:
        number = 0
        while not until.is_set():
            number += 1
            text = f"{self.name}-{number}"
            try:
                message = await self.chat.send("lobby", text)
            except CommandRefused as refused:
                if refused.code not in ("unavailable", "overloaded"):
                    raise
                self.refusals += 1
                await asyncio.sleep(0.05)
            else:
                self.acknowledged[text] = message["seq"]
                await asyncio.sleep(0.02)


class Listener:
    """Reads on and on; each event has its own place."""

    def __init__(self, url: str, token: str) -> None:
        self.chat = connect(url, token=token, timing=TIMING)
        self.seqs: list[int] = []
        self.texts: list[str] = []

    async def run(self) -> None:
        subscription = await self.chat.subscribe("lobby", after=0)
        async for item in subscription:
            assert not isinstance(item, Reset)
            self.seqs.append(item["seq"])
            if item["type"] == "message.created":
                self.texts.append(item["data"]["message"]["text"])


class Revoked:
    """Comes back to any node whenever its socket ends, until it is told to stop; when it was last handed something."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.replace("http", "ws", 1) + "/ws"
        self._token = token
        self.handed_at_s = 0.0
        self.is_refused = False

    async def run(self) -> None:
        while not self.is_refused:
            try:
                async with websockets.connect(
                    self._url, additional_headers={"Authorization": f"Bearer {self._token}"}, open_timeout=3
                ) as socket:
                    await socket.send('{"jsonrpc":"2.0","id":1,"method":"room.subscribe","params":{"room":"lobby"}}')
                    async for message in socket:
                        if '"method":"event"' in str(message):
                            self.handed_at_s = time.monotonic()
            except websockets.InvalidStatus as refused:
                self.is_refused = refused.response.status_code == 401
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            else:
                continue
            await asyncio.sleep(0.05)


class Lag:
    """How late this process itself came to look at what it was sent: that is not the servers' doing."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def run(self) -> None:
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0.05)
            self.worst_s = max(self.worst_s, time.monotonic() - began_s - 0.05)


async def misfortune(nodes: Cluster, chance: random.Random, until_s: float) -> Counter[str]:
    """One fault after the other. Each kind comes before one comes again."""
    befell: Counter[str] = Counter()
    waiting: list[str] = []
    while time.monotonic() < until_s or waiting or not befell:
        if not waiting:
            waiting = chance.sample(KINDS, len(KINDS))
        kind, number = waiting.pop(), chance.randrange(len(nodes.nodes))
        befell[kind] += 1
        if kind == "kill":
            await nodes.kill(number)
            await nodes.bring_back(number)
        elif kind == "pause":
            await nodes.pause(number, PAUSED_S)
        elif kind == "lose bus":
            await nodes.lose_bus(chance.uniform(0.1, 0.7))
        elif kind == "slow bus":
            await nodes.slow_bus(chance.uniform(0.1, 0.7))
        else:
            await nodes.lose_database(chance.uniform(0, 0.7))
        await asyncio.sleep(chance.uniform(0.1, 5 if LONG else 0.3))
    return befell


async def revoke(root: Chat, subject: str) -> float:
    """When it was acknowledged."""
    while True:
        try:
            await root.call("session.revoke", subject=subject)
        except (CommandRefused, ConnectionLost):
            await asyncio.sleep(0.1)
        else:
            return time.monotonic()


async def whole_log(root: Chat) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        page = await root.call("event.list", room="lobby", after=len(events))
        events += page["events"]
        if not page["events"]:
            return events


async def present_on(node: ServerProcess, token: str) -> list[str]:
    request = {"jsonrpc": "2.0", "id": 1, "method": "presence.list", "params": {"room": "lobby"}}
    status, answer = await asyncio.to_thread(node.post, "/rpc", request, token)
    assert status == 200, answer
    return sorted(person["subject"] for person in answer["result"]["present"])


async def test_faults_under_load_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    # The balancer draws whenever a line comes: by a chance of its own, or a seed would not repeat the faults.
    async with cluster(tmp_path, random.Random(SEED), **SETTINGS) as (nodes, balancer):
        token = nodes.nodes[0].token
        names = ["ada", "ben", "cleo", "dan"]
        async with connect(balancer.url, token=token("root", roles=("admin",), ttl_s=3600), timing=TIMING) as root:
            await root.call("room.create", room="lobby", visibility="public")
            await under_faults(nodes, balancer, chance, root, names)


async def under_faults(nodes: Cluster, balancer: Balancer, chance: random.Random, root: Chat, names: list[str]) -> None:
    def token(name: str) -> str:
        return nodes.nodes[0].token(name, ttl_s=3600)

    tokens = {name: token(name) for name in names}
    speakers = [Speaker(name, balancer.url, tokens[name]) for name in names]
    listeners = [Listener(balancer.url, tokens[name]) for name in names for _ in range(2)]
    eve = Revoked(balancer.url, token("eve"))
    enough, lag = asyncio.Event(), Lag()
    for each in (*speakers, *listeners):
        await each.chat.__aenter__()
    for speaker in speakers:
        await speaker.chat.call("room.join", room="lobby")
    running = [asyncio.ensure_future(each.run()) for each in (lag, *listeners, eve)]
    speaking = [asyncio.ensure_future(speaker.run(enough)) for speaker in speakers]
    try:
        for number in range(len(nodes.nodes) if LONG else 1):
            await nodes.roll(number)
        assert sum(speaker.refusals for speaker in speakers) == 0, "a rolling restart is nobody's error"
        assert max((away_s for each in speakers for away_s in each.away_s), default=0) < 6

        began_s = time.monotonic()
        befalling = asyncio.ensure_future(misfortune(nodes, chance, began_s + FAULTS_S))
        await asyncio.sleep(FAULTS_S / 3 or 1.5)
        revoked_at_s = await revoke(root, "eve")
        befell = await befalling
        enough.set()
        print(f"seed {SEED}: {dict(befell)}, {sum(len(each.acknowledged) for each in speakers)} acknowledged")
        await asyncio.wait_for(asyncio.gather(*speaking), 30)

        await root.live()
        log = await whole_log(root)
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1)), "the log has a hole"
        said = {e["data"]["message"]["text"]: e["seq"] for e in log if e["type"] == "message.created"}
        assert len(said) == sum(event["type"] == "message.created" for event in log), "something is there twice"
        for speaker in speakers:
            assert speaker.acknowledged, f"{speaker.name} was never answered (seed {SEED}, {befell})"
            assert speaker.acknowledged.items() <= said.items(), "what was acknowledged is not in its place"

        async with asyncio.timeout(20):
            while any(listener.seqs[-1:] != [len(log)] for listener in listeners):
                for task in running[:-1]:
                    assert not task.done(), task.exception()
                await asyncio.sleep(0.05)
        for listener in listeners:
            assert listener.seqs == list(range(1, len(log) + 1)), "a reader missed something, or saw it twice"

        await asyncio.wait_for(running[-1], 20)
        assert eve.handed_at_s < revoked_at_s + 1 + lag.worst_s, "something was handed to one who had been revoked"

        async with asyncio.timeout(15):
            while [await present_on(node, tokens["ada"]) for node in nodes.nodes] != [names] * len(nodes.nodes):
                await asyncio.sleep(0.2)
    finally:
        for task in (*running, *speaking):
            task.cancel()
        await asyncio.gather(*running, *speaking, return_exceptions=True)
        for each in (*speakers, *listeners):
            await each.chat.close()
