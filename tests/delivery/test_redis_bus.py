"""The bus on a real Valkey: what a node hears, what it does not, and how it comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from parley.delivery.bus import ALL, of_node, of_room
from parley.delivery.redis_bus import RedisBus
from parley.domain.events import Change, Event, Signal
from parley.domain.principal import Person
from tests.here import until
from tests.servers import ValkeyServer

pytestmark = pytest.mark.anyio


class Node:
    def __init__(self, url: str, letter: str, name: str = "test") -> None:
        self.bus = RedisBus(url, node=letter * 16, name=name, random=random.random)
        self.events: list[Event] = []
        self.changes: list[Change] = []
        self.signals: list[Signal] = []
        self.notes: list[tuple[str, Any]] = []
        self.heard_topics: set[str] = set()
        self.bus.receive(self._receive)
        self.bus.hear("test", lambda node, body: self.notes.append((node, body)))
        self.bus.followed = self.heard_topics.add

    def _receive(self, events: Any, changes: Any, signals: Any) -> None:
        self.events += events
        self.changes += changes
        self.signals += signals

    async def reads(self, room: str) -> None:
        self.bus.follow(of_room(room))
        await until(lambda: of_room(room) in self.heard_topics)

    async def is_there(self) -> None:
        await until(lambda: of_node(self.bus.node) in self.heard_topics and ALL in self.heard_topics)


@asynccontextmanager
async def nodes(*of: Node) -> AsyncIterator[None]:
    for node in of:
        node.bus.start()
    try:
        for node in of:
            await node.is_there()
        yield
    finally:
        for node in of:
            await node.bus.stop()


@pytest.fixture(scope="module", params=["one server", "a cluster"])
def valkey(request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    server = ValkeyServer(cluster=request.param == "a cluster").start()
    yield server
    server.remove()


def event(room: str, seq: int) -> Event:
    return Event(room, seq, "message.created", "2026-01-01T00:00:00Z", Person("u", "U", "account"), {"n": seq})


async def test_who_reads_a_room_hears_its_events_and_nobody_else_does(valkey: ValkeyServer) -> None:
    speaker, reader, other = Node(valkey.url, "a"), Node(valkey.url, "b"), Node(valkey.url, "c")
    async with nodes(speaker, reader, other):
        await reader.reads("lobby")
        await other.reads("attic")
        speaker.bus.publish([event("lobby", 1), event("lobby", 2)], [], [Signal("lobby", "typing.set", "", {})])
        speaker.bus.publish([], [Change("account", "u", 5)], [])
        await until(lambda: bool(other.changes) and len(reader.events) == 2 and bool(reader.signals))
        assert reader.events == speaker.events == [event("lobby", 1), event("lobby", 2)]
        assert other.events == [] == other.signals
        assert other.changes == [Change("account", "u", 5)]
        assert other.bus.received == 1, "what is said in a room that nobody reads here does not come here"


async def test_one_turn_of_the_loop_is_one_parcel_for_a_topic(valkey: ValkeyServer) -> None:
    speaker, reader = Node(valkey.url, "a"), Node(valkey.url, "b")
    async with nodes(speaker, reader):
        await reader.reads("lobby")
        for seq in range(1, 101):
            speaker.bus.publish([event("lobby", seq)], [], [])
        await until(lambda: len(reader.events) == 100)
        assert (speaker.bus.published, reader.bus.received) == (1, 1)


async def test_a_note_reaches_the_node_it_is_for_or_all_but_its_sender(valkey: ValkeyServer) -> None:
    one, two, three = Node(valkey.url, "a"), Node(valkey.url, "b"), Node(valkey.url, "c")
    async with nodes(one, two, three):
        one.bus.note(of_node("b" * 16), "test", {"for": "two"})
        one.bus.note(ALL, "test", [1])
        await until(lambda: len(two.notes) == 2 and len(three.notes) == 1)
        assert ("a" * 16, {"for": "two"}) in two.notes
        assert three.notes == [("a" * 16, [1])]
        assert one.notes == []


async def test_a_room_is_followed_until_it_was_left_as_often(valkey: ValkeyServer) -> None:
    speaker, reader = Node(valkey.url, "a"), Node(valkey.url, "b")
    async with nodes(speaker, reader):
        await reader.reads("lobby")
        reader.bus.follow(of_room("lobby"))
        reader.bus.leave(of_room("lobby"))
        await reader.reads("attic")
        speaker.bus.publish([event("lobby", 1)], [], [])
        await until(lambda: len(reader.events) == 1)
        reader.bus.leave(of_room("lobby"))
        await reader.reads("cellar")  # subscriptions take effect in order
        speaker.bus.publish([event("lobby", 2), event("cellar", 1)], [], [])
        await until(lambda: event("cellar", 1) in reader.events)
        assert event("lobby", 2) not in reader.events


async def test_installations_that_share_a_server_hear_nothing_of_each_other(valkey: ValkeyServer) -> None:
    ours, theirs, also_ours = Node(valkey.url, "a"), Node(valkey.url, "b", "another"), Node(valkey.url, "c")
    async with nodes(ours, theirs, also_ours):
        ours.bus.note(ALL, "test", 1)
        await until(lambda: bool(also_ours.notes))
        assert theirs.notes == []


async def test_what_nobody_understands_is_dropped_and_the_next_is_heard(valkey: ValkeyServer) -> None:
    reader, speaker = Node(valkey.url, "a"), Node(valkey.url, "b")
    async with nodes(reader, speaker):
        word = "SPUBLISH" if valkey.cluster else "PUBLISH"
        for junk in ("x", "b" * 16 + "{", "b" * 16 + '{"events":1}', "\u00ff" * 20):
            valkey.tell(f'{word} parley:test:{ALL} "{junk}"')
        speaker.bus.note(ALL, "test", "sense")
        await until(lambda: bool(reader.notes))
        assert reader.notes == [("b" * 16, "sense")]


async def test_a_bus_that_was_away_is_found_again_with_everything_that_is_followed() -> None:
    server = ValkeyServer().start()
    speaker, reader = Node(server.url, "a"), Node(server.url, "b")
    times_up = 0

    def came_up() -> None:
        nonlocal times_up
        times_up += 1

    reader.bus.came_up = came_up
    try:
        async with nodes(speaker, reader):
            await reader.reads("lobby")
            server.stop()
            await until(lambda: not speaker.bus.is_up and not reader.bus.is_up)
            speaker.bus.publish([event("lobby", 1)], [], [])
            assert speaker.events == [event("lobby", 1)], "on the node itself nothing depends on the bus"
            reader.heard_topics.clear()
            server.start()
            await until(lambda: of_room("lobby") in reader.heard_topics and speaker.bus.is_up)
            speaker.bus.publish([event("lobby", 2)], [], [])
            await until(lambda: bool(reader.events))
            assert reader.events == [event("lobby", 2)], "what was said meanwhile is lost: the store has it"
            assert times_up == 2
    finally:
        server.remove()


async def test_nodes_start_without_a_bus_and_find_it_once_it_is_there() -> None:
    server = ValkeyServer()
    node = Node(server.url, "a")
    node.bus.start()
    try:
        node.bus.publish([event("lobby", 1)], [], [])
        assert node.events == [event("lobby", 1)]
        assert not node.bus.is_up
        server.start()
        await until(lambda: node.bus.is_up)
    finally:
        await node.bus.stop()
        server.remove()


@pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")])
async def test_what_is_said_while_the_server_goes_is_lost_quietly_and_answered_so() -> None:
    """On the server's own loop: uvloop raises where a transport that has closed is written to."""
    wrong: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    valkey = ValkeyServer().start()
    node = Node(valkey.url, "a")
    answers: list[Any] = []
    asked = 0
    try:
        async with nodes(node):
            valkey.stop()
            while node.bus.is_up:
                node.bus.ask("rate:", answers.append, b"GET", node.bus.key_of("rate:"))
                node.bus.publish([event("lobby", 1)], [Change("account", "u", asked)], [])
                node.bus.follow(of_room(str(asked)))
                asked += 1
                await asyncio.sleep(0)
            await until(lambda: len(answers) == asked)
    finally:
        valkey.remove()
    assert not wrong
