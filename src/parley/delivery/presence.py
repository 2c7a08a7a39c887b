"""Who is there: the members of a room with at least one subscribed connection, each once.

Leaving is told only after a grace, so that a reload is not a coming and going; one who is no member any more has left.
One node's view; another node's is added by the bus.
"""

from collections.abc import Callable
from typing import Final, Protocol

from parley.delivery.readers import Subscription
from parley.delivery.signals import NAMED_MAX

LEAVING_S: Final = 5.0


class Told(Protocol):
    def came(self, room: str, subject: str, name: str) -> None: ...
    def went(self, room: str, subject: str, name: str) -> None: ...
    def fell_silent(self, room: str, subject: str, name: str) -> None:
        """The subject's last subscription here has ended; whether it has left will show."""


class Presence:
    """`came` and `left` follow the hub's subscriptions; `tick` is called about once a second."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self.told: Told | None = None
        self._here: dict[str, dict[str, set[Subscription]]] = {}
        self._names: dict[str, dict[str, str]] = {}
        self._leaving: dict[tuple[str, str], float] = {}

    def came(self, subscription: Subscription) -> None:
        if subscription.role is None:
            return
        room, subject = subscription.room, subscription.reader.subject
        here = self._here.setdefault(room, {}).setdefault(subject, set())
        here.add(subscription)
        names = self._names.setdefault(room, {})
        if self._leaving.pop((room, subject), None) is None and subject not in names and self.told is not None:
            self.told.came(room, subject, subscription.reader.name)
        names[subject] = subscription.reader.name

    def left(self, subscription: Subscription) -> None:
        room, subject = subscription.room, subscription.reader.subject
        here = self._here.get(room, {}).get(subject)
        if here is None or subscription not in here:
            return
        here.remove(subscription)
        if not here:
            del self._here[room][subject]
            self._leaving[room, subject] = self._clock_s() + (0 if subscription.role is None else LEAVING_S)
            if self.told is not None:
                self.told.fell_silent(room, subject, subscription.reader.name)

    def count(self, room: str) -> int:
        return len(self._names.get(room, ()))

    def listed(self, room: str) -> dict[str, object]:
        """The reply of `presence.list`: at most 100 people, then with their whole `count`."""
        names = self._names.get(room, {})
        people = [{"subject": subject, "name": names[subject]} for subject in list(names)[:NAMED_MAX]]
        return {"present": people} if len(names) <= NAMED_MAX else {"present": people, "count": len(names)}

    def tick(self) -> None:
        """Tell of those who have been gone for long enough."""
        now = self._clock_s()
        for (room, subject), until in list(self._leaving.items()):
            if until > now:
                continue
            del self._leaving[room, subject]
            names = self._names[room]
            name = names.pop(subject)
            if not names:
                del self._names[room]
            if not self._here.get(room):
                self._here.pop(room, None)
            if self.told is not None:
                self.told.went(room, subject, name)
