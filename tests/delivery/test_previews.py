"""What is shown to some readers of a room and not to the others: a visitor's typing, to agents."""

from typing import Any

import msgspec
import pytest

from parley.delivery.presence import Presence
from parley.delivery.readers import Subscription
from parley.delivery.signals import TYPING_S, Signals
from parley.domain.events import Signal
from tests.delivery.scene import ROOM, Lines, Recorder, Scene

NOW_MS = 1_800_000_000_000


class Room:
    """A room with an agent and a visitor who share one encoder, as connections of one dialect do."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.present = Presence(self.scene.loop.clock_s)
        self.signals = Signals(self.scene.hub, self.scene.loop.clock_s, self.present.count)
        self.encoder = Told()
        self.agent = self.reads("agent", privy=True)
        self.visitor = self.reads("visitor", privy=False)

    def reads(self, subject: str, *, privy: bool) -> Recorder:
        reader = self.scene.reader(subject, encoder=self.encoder)
        subscription = Subscription(reader, ROOM, "member", privy=privy)
        joining = self.scene.hub.begin(ROOM, reader)
        assert self.scene.hub.finish(joining, subscription, self.scene.logs.head(ROOM), public=False) == []
        reader.subscriptions.append(subscription)
        return reader

    def types(self, text: str | None, *, active: bool = True) -> None:
        self.signals.typing(ROOM, "visitor", "Vi", active=active, text=text)

    def passes(self, seconds: float = 1) -> None:
        self.scene.loop.now_s += seconds
        self.signals.tick(NOW_MS)
        self.scene.loop.run()


class Told(Lines):
    """Signals as JSON, a line each."""

    def signal(self, signal: Signal) -> bytes:
        return msgspec.json.encode(signal.data) + b"\n"


@pytest.fixture
def room() -> Room:
    return Room()


def told(reader: Recorder) -> list[Any]:
    """What it was told since the last time."""
    lines = [msgspec.json.decode(line) for line in b"".join(reader.writes).splitlines() if line.startswith(b"{")]
    reader.writes.clear()
    return lines


def test_the_text_goes_to_those_who_are_privy_and_the_fact_to_all(room: Room) -> None:
    room.types("I want")
    room.passes()
    assert told(room.agent) == [{"started": [{"subject": "visitor", "name": "Vi", "text": "I want"}], "stopped": []}]
    assert told(room.visitor) == [{"started": [{"subject": "visitor", "name": "Vi"}], "stopped": []}]


def test_as_it_grows_only_the_privy_are_told_and_only_of_what_changed(room: Room) -> None:
    room.types("I")
    room.passes()
    told(room.agent)
    told(room.visitor)
    room.types("I want")
    room.types("I want my")
    room.passes()
    assert told(room.agent) == [{"started": [{"subject": "visitor", "name": "Vi", "text": "I want my"}], "stopped": []}]
    room.types("I want my")
    room.passes()
    assert told(room.agent) == []
    assert told(room.visitor) == []


def test_who_stops_shows_nothing_any_more(room: Room) -> None:
    room.types("I")
    room.passes()
    told(room.agent)
    room.types("I want", active=True)
    room.types(None, active=False)
    room.passes()
    assert told(room.agent) == [{"started": [], "stopped": [{"subject": "visitor", "name": "Vi"}]}]
    room.types("again")
    room.passes(TYPING_S + 1)
    assert "again" not in str(told(room.agent)), "it was over before it was told"


def test_events_go_to_both_alike(room: Room) -> None:
    room.scene.happen()
    room.scene.loop.run()
    assert b"".join(room.agent.writes) == b"".join(room.visitor.writes) != b""
