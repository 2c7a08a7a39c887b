"""Presence between two nodes over a bus that loses: what is missed is asked for, and nobody is left over."""

from collections import deque
from typing import Any

import pytest

from parley.delivery.bus import ALL, of_node, of_room
from parley.delivery.presence import LEAVING_S, Presence
from parley.delivery.readers import Subscription
from tests.delivery.scene import ROOM


class Air:
    """What is between the nodes: it carries when the test says so, and can lose."""

    def __init__(self) -> None:
        self.nodes: dict[str, Line] = {}
        self.waiting: deque[tuple[str, str, str, Any]] = deque()
        self.loses = False

    def carry(self) -> None:
        while self.waiting:
            sender, topic, kind, body = self.waiting.popleft()
            for name, line in self.nodes.items():
                if name != sender and (topic in (ALL, of_node(name)) or topic in line.topics) and not self.loses:
                    line.hearers[kind](sender, body)


class Line:
    def __init__(self, air: Air, name: str) -> None:
        self.air, self.name = air, name
        self.topics: set[str] = set()
        self.hearers: dict[str, Any] = {}
        air.nodes[name] = self

    def note(self, topic: str, kind: str, body: Any) -> None:
        self.air.waiting.append((self.name, topic, kind, body))

    def hear(self, kind: str, hearer: Any) -> None:
        self.hearers[kind] = hearer

    def follow(self, topic: str) -> None:
        self.topics.add(topic)

    def leave(self, topic: str) -> None:
        self.topics.discard(topic)


class Person:
    def __init__(self, subject: str) -> None:
        self.subject, self.name = subject, subject.title()


class Node:
    def __init__(self, air: Air, name: str) -> None:
        self.now_s = 100.0
        self.told: list[str] = []
        line: Any = Line(air, name)
        self.air = air
        self.presence = Presence(lambda: self.now_s, line)
        self.presence.told = self

    def reads(self, room: str = ROOM) -> None:
        self.presence.rosters.follow(room)
        self.presence.rosters.ask(room)
        self.air.carry()

    def comes(self, subject: str) -> Subscription:
        person: Any = Person(subject)
        subscription = Subscription(person, ROOM, "member")
        self.presence.came(subscription)
        return subscription

    def goes(self, subscription: Subscription) -> None:
        self.presence.left(subscription)
        self.now_s += LEAVING_S
        self.presence.tick()

    @property
    def people(self) -> list[str]:
        return sorted(one["subject"] for one in self.presence.listed(ROOM)["present"])  # type: ignore[attr-defined]

    # --- Told ---

    def came(self, room: str, subject: str, name: str) -> None:
        self.told.append(f"+{subject}")

    def went(self, room: str, subject: str, name: str) -> None:
        self.told.append(f"-{subject}")

    def fell_silent(self, room: str, subject: str, name: str) -> None:
        pass


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def one(air: Air) -> Node:
    node = Node(air, "one")
    node.reads()
    return node


@pytest.fixture
def two(air: Air) -> Node:
    node = Node(air, "two")
    node.reads()
    return node


def test_who_comes_and_goes_elsewhere_is_told_of_once(air: Air, one: Node, two: Node) -> None:
    ada = one.comes("ada")
    air.carry()
    assert (two.people, two.told) == (["ada"], ["+ada"])
    one.goes(ada)
    air.carry()
    assert (two.people, two.told) == ([], ["+ada", "-ada"])


def test_somebody_on_both_nodes_is_there_until_they_left_both(air: Air, one: Node, two: Node) -> None:
    here, there = two.comes("ada"), one.comes("ada")
    air.carry()
    assert (two.people, two.told) == (["ada"], ["+ada"])
    two.goes(here)
    assert two.people == ["ada"]
    one.goes(there)
    air.carry()
    assert (two.people, two.told) == ([], ["+ada", "-ada"])


def test_what_was_lost_is_asked_for_with_the_next_that_comes(air: Air, one: Node, two: Node) -> None:
    air.loses = True
    one.comes("ada")
    air.carry()
    air.loses = False
    assert two.people == []
    one.comes("ben")
    air.carry()
    assert two.people == ["ada", "ben"]
    assert sorted(two.told) == ["+ada", "+ben"]


def test_the_last_that_was_lost_is_asked_for_once_versions_are_told_again(air: Air, one: Node, two: Node) -> None:
    ada = one.comes("ada")
    air.carry()
    air.loses = True
    one.goes(ada)
    air.carry()
    air.loses = False
    assert two.people == ["ada"]
    one.presence.tick()
    air.carry()
    assert (two.people, two.told) == ([], ["+ada", "-ada"])


def test_who_was_there_before_the_room_was_read_is_listed_and_not_told_of(air: Air, one: Node) -> None:
    one.comes("ada")
    one.now_s += 4
    one.presence.tick()
    one.comes("ben")
    air.carry()
    three = Node(air, "three")
    three.reads()
    assert (three.people, three.told) == (["ada", "ben"], ["+ben"])


def test_the_people_of_a_node_that_is_gone_have_left_unless_they_are_elsewhere(air: Air, one: Node, two: Node) -> None:
    one.comes("ada")
    one.comes("ben")
    two.comes("ben")
    air.carry()
    two.presence.rosters.gone("one")
    assert two.people == ["ben"]
    assert two.told == ["+ben", "+ada", "-ada"] or two.told == ["+ada", "+ben", "-ada"]


def test_a_node_that_was_taken_for_gone_tells_of_its_people_again(air: Air, one: Node, two: Node) -> None:
    one.comes("ada")
    air.carry()
    two.presence.rosters.gone("one")
    one.presence.rosters.announce()
    air.carry()
    assert two.people == ["ada"]


def test_a_room_that_is_not_read_any_more_is_forgotten_with_everybody_elsewhere(air: Air, one: Node, two: Node) -> None:
    one.comes("ada")
    air.carry()
    two.presence.rosters.leave(ROOM)
    assert two.people == []
    assert of_room(ROOM) not in air.nodes["two"].topics
