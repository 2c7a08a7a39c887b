"""Faults under load: kills, pauses, a bus and a database that go away. Seeded: `PARLEY_TEST_SEED` repeats a run.

Afterwards: what was acknowledged is there once and in its place, the log has no hole, every reader saw all of it once
and in order, nothing was handed to whom was revoked, and only those who are there are present. The clients are of every
kind, and come back by the rules that their protocols' pages tell.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect as dial

from parley.client import Chat, CommandRefused, ConnectionLost, connect
from tests.cluster import Balancer, Cluster, cluster
from tests.lengths import LONG
from tests.reconnecting import KINDS, NPM, Crowd, Pace, Person, crowd
from tests.serving import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1100 if LONG else 150)]

SEED = int(os.environ.get("PARLEY_TEST_SEED", "8"))
#: The short form is each kind of fault once.
FAULTS_S = float(os.environ.get("PARLEY_TEST_FAULTS_S", "600" if LONG else "0"))
#: The long form leaves each client its own rule; the short one has no time for it.
PACE = (
    Pace()
    if LONG
    else Pace(
        restart_s=0.5,
        again_ms=100,
        connect_ms=2000,
        answer_ms=3000,
        graphql_ms=500,
        socketio={"reconnectionDelay": 100, "reconnectionDelayMax": 400},
    )
)
SETTINGS = {"limits__messages_per_s": 0, "limits__ping_interval": 2, "limits__ping_timeout": 3}
PAUSED_S = 30 if LONG else 1.5
FAULTS = ("kill", "pause", "lose bus", "slow bus", "lose database", "cut", *(("roll",) if LONG else ()))
#: After a fault everybody speaks and hears again. graphql-ws doubles its pause with each attempt.
PATIENCE_S = 90 if LONG else 20
#: One speaks by each kind of client, and a second one by our own.
PEOPLE = {"ada": "parley.client", **{f"p{number}": kind for number, kind in enumerate(KINDS)}}
#: Kinds by which somebody can be handed something at any moment.
STUBBORN = ("native", *NPM)


class Misfortune:
    """One fault after the other. Each kind comes before one comes again."""

    def __init__(
        self, nodes: Cluster, cut: Callable[[], None], people: Crowd, chance: random.Random, token: str
    ) -> None:
        self.befell: Counter[str] = Counter()
        self.worst_s: dict[str, float] = {}
        self._nodes = nodes
        self._cut = cut
        self._people = people
        self._chance = chance
        self._token = token
        self._waiting: list[str] = []

    @property
    def is_round_over(self) -> bool:
        return not self._waiting and bool(self.befell)

    async def strike(self) -> None:
        """The next fault, or two at once; after half of the times everybody is back before there is another."""
        chance = self._chance
        if not self._waiting:
            self._waiting = chance.sample(FAULTS, len(FAULTS))
        kinds = [self._waiting.pop() for _ in range(min(len(self._waiting), chance.choice((1, 1, 2))))]
        numbers = chance.sample(range(len(self._nodes.nodes)), len(kinds))  # one fault to a node
        drawn = [(kind, number, chance.random()) for kind, number in zip(kinds, numbers, strict=True)]
        calm = chance.random() < 0.5
        self.befell.update(kinds)
        await asyncio.gather(*(self._befall(*each) for each in drawn))
        if calm:
            began_s = time.monotonic()
            await recovered(self._people)
            what = " and ".join(sorted(kinds))
            self.worst_s[what] = max(self.worst_s.get(what, 0), time.monotonic() - began_s)

    async def _befall(self, kind: str, number: int, for_s: float) -> None:
        nodes = self._nodes
        if kind == "kill":
            await self._lost_with(nodes.nodes[number])
            await nodes.kill(number)
            await nodes.bring_back(number)
        elif kind == "pause":
            await nodes.pause(number, PAUSED_S)
        elif kind == "lose bus":
            await nodes.lose_bus(for_s)
        elif kind == "slow bus":
            await nodes.slow_bus(for_s)
        elif kind == "lose database":
            await nodes.lose_database(for_s * (4 if LONG else 0.7))
        elif kind == "roll":
            await nodes.roll(number)
        else:
            self._cut()

    async def _lost_with(self, node: ServerProcess) -> None:
        """Somebody is on the very node that is about to be killed, and does not come back."""
        try:
            socket = await dial(node.ws_url, additional_headers={"Authorization": f"Bearer {self._token}"})
            await socket.send('{"jsonrpc":"2.0","id":1,"method":"room.subscribe","params":{"room":"lobby"}}')
            await socket.recv()
        except (OSError, TimeoutError, websockets.WebSocketException):
            pass  # of a node that has just been hurt


async def recovered(people: Crowd) -> None:
    """Everybody has said something, and heard something, that was said after this."""
    everybody = [one for one in people.people.values() if not one.stubborn]
    said = {one.name: len(one.acknowledged) for one in everybody}
    head = max(one.last for one in everybody)
    await people.until(lambda one: len(one.acknowledged) > said[one.name] and one.last > head, everybody, PATIENCE_S)


async def insist(root: Chat, command: str, **params: Any) -> Any:
    """As any client may: whatever passes is asked again."""
    while True:
        try:
            return await root.call(command, **params)
        except ConnectionLost:
            await root.live()
        except CommandRefused as refused:
            if not refused.passes:
                raise
            await asyncio.sleep(0.1)


async def whole_log(root: Chat) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        page = await insist(root, "event.list", room="lobby", after=len(events))
        events += page["events"]
        if not page["events"]:
            return events


async def present_on(node: ServerProcess, token: str) -> list[str]:
    request = {"jsonrpc": "2.0", "id": 1, "method": "presence.list", "params": {"room": "lobby"}}
    status, answer = await asyncio.to_thread(node.post, "/rpc", request, token)
    assert status == 200, answer
    return sorted(person["subject"] for person in answer["result"]["present"])


class Story:
    def __init__(self, nodes: Cluster, balancer: Balancer, people: Crowd, root: Chat) -> None:
        self.nodes = nodes
        self.balancer = balancer
        self.people = people
        self.root = root
        self.revocations: list[tuple[str, float]] = []
        self._revoked = 0

    def token(self, name: str) -> str:
        # With the moment of the sign-in: a revocation in the same second would spare a token without it.
        return self.nodes.nodes[0].token(name, ttl_s=3600, auth_time=time.time())

    async def invite(self, name: str) -> str:
        """A member; their token."""
        await insist(self.root, "room.invite", room="lobby", subject=name)
        return self.token(name)

    @property
    def everybody(self) -> list[Person]:
        return [one for one in self.people.people.values() if not one.stubborn]

    async def come_in(self) -> None:
        for name, kind in PEOPLE.items():
            self.people.add(name, kind, await self.invite(name))
        await recovered(self.people)

    async def roll(self) -> None:
        """A deployment: no node says no to anybody, and each is back in time, by its own rule."""
        for number in range(len(self.nodes.nodes)):
            await self.nodes.roll(number)
        await recovered(self.people)
        refusals = {repr(one): dict(one.refusals) for one in self.everybody if one.refusals}
        assert not refusals, f"a rolling restart is nobody's error: {refusals}"
        away_s = {repr(one): max(one.away_s, default=0) for one in self.everybody}
        doubts = {repr(one): one.doubts for one in self.everybody if one.doubts}
        print(f"rolled: away { ({who: round(s, 1) for who, s in away_s.items()}) } s, unsure {doubts}")
        assert max(away_s.values()) < 6, away_s

    async def intruders(self) -> list[Person]:
        """Somebody with a client of each kind that comes back whatever it is told."""
        self._revoked += 1
        name = f"eve{self._revoked}"
        token = await self.invite(name)
        return [self.people.add(f"{name} {kind}", kind, token, speaks=False, stubborn=True) for kind in STUBBORN]

    async def revoke(self, them: list[Person]) -> None:
        self.people.lag_s = 0
        await insist(self.root, "session.revoke", subject=them[0].name.split()[0])
        revoked_at_s = time.monotonic()
        await self.people.until(lambda one: one.is_out, them, PATIENCE_S)
        for one in them:
            late_s = one.handed_at_s - revoked_at_s
            self.revocations.append((one.kind, late_s))
            assert late_s < 1 + self.people.lag_s, f"{one} was handed something {late_s:.2f} s after being revoked"

    async def suffer(self, chance: random.Random) -> None:
        fate = Misfortune(self.nodes, self.balancer.cut, self.people, chance, await self.invite("lost"))
        began_s = time.monotonic()
        revoking: asyncio.Task[None] | None = None
        them = await self.intruders()
        while not fate.is_round_over or time.monotonic() < began_s + FAULTS_S:
            if revoking is None and all(one.seqs for one in them):
                revoking = asyncio.ensure_future(self.revoke(them))
            await fate.strike()
            self.people.look()
            if LONG and revoking is not None and revoking.done():
                await revoking
                revoking, them = None, await self.intruders()
        if revoking is None:
            revoking = asyncio.ensure_future(self.revoke(them))
        await revoking
        print(
            f"seed {SEED}: {dict(fate.befell)}, back within { ({k: round(s, 1) for k, s in fate.worst_s.items()}) } s"
        )

    async def told(self) -> None:
        """What is so afterwards."""
        await self.people.hush(self.everybody, PATIENCE_S)
        log = await whole_log(self.root)
        everything = list(range(1, len(log) + 1))
        assert [event["seq"] for event in log] == everything, "the log has a hole"
        said = {e["data"]["message"]["text"]: e["seq"] for e in log if e["type"] == "message.created"}
        assert len(said) == sum(event["type"] == "message.created" for event in log), "something is there twice"
        acknowledged: dict[str, int] = {}
        for one in self.everybody:
            acknowledged |= one.acknowledged
            assert sorted(one.acknowledged.values()) == list(one.acknowledged.values()), f"{one} is out of order"
        assert acknowledged == said, "what was acknowledged, and only that, is in its place"

        await self.people.until(lambda one: one.last == len(log), self.everybody, PATIENCE_S)
        for one in self.everybody:
            assert one.seqs == everything, f"{one} missed something, or saw it twice"
        assert not [one for one in self.everybody if one.is_out]

        token, here = self.people.people["ada"].token, sorted(name for name, kind in PEOPLE.items() if kind != "rpc")
        async with asyncio.timeout(20):
            while [await present_on(node, token) for node in self.nodes.nodes] != [here] * len(self.nodes.nodes):
                await asyncio.sleep(0.2)
        for node in self.nodes.nodes:
            bugs = [line for line in node.log.splitlines() if "[error]" in line or "[critical]" in line]
            assert not bugs, "what goes away is a warning, and no bug"
        self.report(len(log))

    def report(self, length: int) -> None:
        late_s = {kind: round(max(s for one, s in self.revocations if one == kind), 2) for kind in STUBBORN}
        print(f"{length} events; {self._revoked} were revoked, and handed something for at most {late_s} s more")
        for one in self.everybody:
            print(
                f"{one}: {len(one.acknowledged)} acknowledged, {len(one.seqs)} heard, {one.doubts} unsure,"
                f" {len(one.away_s)} times away, {max(one.away_s, default=0):.1f} s at most,"
                f" refused {dict(one.refusals)}"
            )


async def test_faults_under_load_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    # The balancer draws whenever a line comes: by a chance of its own, or a seed would not repeat the faults.
    async with (
        cluster(tmp_path, random.Random(SEED), **SETTINGS) as (nodes, balancer),
        connect(
            balancer.url, token=nodes.nodes[0].token("root", roles=("admin",), ttl_s=3600), timing=PACE.client
        ) as root,
        crowd(balancer.url, PACE) as people,
    ):
        await root.call("room.create", room="lobby", visibility="public")
        story = Story(nodes, balancer, people, root)
        for part in (story.come_in, story.roll, partial(story.suffer, random.Random(SEED)), story.told):
            began_s = time.monotonic()
            await part()
            print(f"({time.monotonic() - began_s:.1f} s)")
