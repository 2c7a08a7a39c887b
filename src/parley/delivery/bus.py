"""What one node tells the others: events, signals, changes, notes. May lose, may repeat, may reorder; never the truth.

The local bus has one node and calls straight through; `redis_bus.py` has any number.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from parley.domain.events import Change, Event, Signal

#: The topic that every node hears.
ALL: Final = "all"


def of_room(room: str) -> str:
    """The topic that the nodes hear on which somebody reads the room."""
    return f"room:{room}"


def of_node(node: str) -> str:
    """The topic that one node hears."""
    return f"node:{node}"


class Receiver(Protocol):
    def __call__(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None: ...


#: Hears one kind of note: which node says it, and what (as JSON has it).
Hearer = Callable[[str, Any], None]


class Bus(Protocol):
    def publish(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        """Tell every node, this one too. Returns at once; never raises for a bus that is away."""

    def receive(self, receiver: Receiver) -> None:
        """Who hears on this node."""

    def note(self, topic: str, kind: str, body: Any) -> None:
        """Tell the other nodes that hear a topic something that is no event: presence, mostly."""

    def hear(self, kind: str, hearer: Hearer) -> None:
        """Who hears the notes of a kind on this node."""

    def follow(self, topic: str) -> None:
        """Hear a topic from now on, until `leave` was called as often."""

    def leave(self, topic: str) -> None: ...


class LocalBus:
    """One node: what is published is received in the same call. `lose` drops events, for the tests of the poll."""

    def __init__(self, lose: Callable[[Event], bool] | None = None) -> None:
        self._receiver: Receiver | None = None
        self._lose = lose
        self.is_up = True
        self.published = self.received = 0

    def receive(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def publish(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        if self._lose is not None:
            events = [event for event in events if not self._lose(event)]
        if self._receiver is not None:
            self._receiver(events, changes, signals)

    def note(self, topic: str, kind: str, body: Any) -> None:
        """There is nobody else."""

    def hear(self, kind: str, hearer: Hearer) -> None:
        """There is nothing to hear."""

    def follow(self, topic: str) -> None:
        """There is nothing to hear."""

    def leave(self, topic: str) -> None:
        """There was nothing to hear."""
