"""What one node tells the others: events, signals and changes. May lose, may repeat, may reorder; never the truth.

The local bus has one node and calls straight through.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from parley.domain.events import Change, Event, Signal


class Receiver(Protocol):
    def __call__(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None: ...


class Bus(Protocol):
    def publish(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        """Tell every node, this one too. Returns at once; never raises for a bus that is away."""

    def receive(self, receiver: Receiver) -> None:
        """Who hears on this node."""


class LocalBus:
    """One node: what is published is received in the same call. `lose` drops events, for the tests of the poll."""

    def __init__(self, lose: Callable[[Event], bool] | None = None) -> None:
        self._receiver: Receiver | None = None
        self._lose = lose

    def receive(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def publish(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        if self._lose is not None:
            events = [event for event in events if not self._lose(event)]
        if self._receiver is not None:
            self._receiver(events, changes, signals)
