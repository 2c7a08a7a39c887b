"""Who is there: the members of a room with at least one subscribed connection, each once over all nodes.

Leaving is told only after a grace, so that a reload is not a coming and going; one who is no member any more has left.
What the other nodes say of theirs is kept by `rosters.py`.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from parley.delivery.bus import Bus, LocalBus
from parley.delivery.readers import Subscription
from parley.delivery.rosters import LEARNING_S, People, Rosters
from parley.delivery.signals import NAMED_MAX

LEAVING_S: Final = 5.0
#: For how long a room stays followed for whoever asked without reading it: they ask again.
ASKED_S: Final = 30.0


class Told(Protocol):
    def came(self, room: str, subject: str, name: str) -> None: ...
    def went(self, room: str, subject: str, name: str) -> None: ...
    def fell_silent(self, room: str, subject: str, name: str) -> None:
        """The subject's last subscription here has ended; whether it has left will show."""


class Presence:
    """`came` and `left` follow the hub's subscriptions; `tick` is called about once a second.

    `call_later(seconds, callback)` is the loop's; without it, and a bus, this is the only node.
    """

    def __init__(
        self,
        clock_s: Callable[[], float],
        bus: Bus | None = None,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._call_later = call_later
        self._clock_s = clock_s
        self.told: Told | None = None
        self._here: dict[str, dict[str, set[Subscription]]] = {}
        self._names: dict[str, People] = {}  # of everybody, on whatever node
        self._leaving: dict[tuple[str, str], float] = {}
        self._ours: dict[str, People] = {}  # those on this node, who are leaving included
        self.rosters = Rosters(bus or LocalBus(), self, clock_s)

    def came(self, subscription: Subscription) -> None:
        if subscription.role is None:
            return
        room, subject = subscription.room, subscription.reader.subject
        here = self._here.setdefault(room, {}).setdefault(subject, set())
        here.add(subscription)
        name = subscription.reader.name
        names = self._names.setdefault(room, {})
        self._leaving.pop((room, subject), None)
        if subject not in names and self.told is not None:
            self.told.came(room, subject, name)
        names[subject] = name
        ours = self._ours.setdefault(room, {})
        if ours.get(subject) != name:
            ours[subject] = name
            self.rosters.moved(room, {subject: name}, {})

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

    def when_known(self, room: str, then: Callable[[], None]) -> None:
        """Call `then` once the other nodes have had time to say who is in the room: at once where it is read here."""
        if self._call_later is None:
            then()
            return
        wait_s = self.rosters.learned_at_s(room) - self._clock_s()
        if wait_s <= 0:
            then()
            return
        if wait_s == float("inf"):
            self.rosters.follow(room)
            self._call_later(ASKED_S, lambda: self.rosters.leave(room))
        self._call_later(min(wait_s, LEARNING_S), lambda: self.when_known(room, then))

    def tick(self) -> None:
        """Tell of those who have been gone for long enough."""
        now = self._clock_s()
        for (room, subject), until in list(self._leaving.items()):
            if until > now:
                continue
            del self._leaving[room, subject]
            name = self._ours[room].pop(subject)
            if not self._ours[room]:
                del self._ours[room]
            if not self._here.get(room):
                self._here.pop(room, None)
            self.rosters.moved(room, {}, {subject: name})
            self._went(room, subject, tell=True)
        self.rosters.tick()

    # --- rosters.Local ---

    def here(self, room: str) -> People:
        return self._ours.get(room, {})

    def rooms_here(self) -> Iterable[str]:
        return self._ours

    def elsewhere(self, room: str, came: People, went: People, *, were_there: bool) -> None:
        names = self._names.setdefault(room, {})
        for subject, name in came.items():
            if subject not in names:
                names[subject] = name
                if self.told is not None and not were_there:
                    self.told.came(room, subject, name)
        for subject in list(went):
            self._went(room, subject, tell=not were_there)
        if not names:
            self._names.pop(room, None)

    def _went(self, room: str, subject: str, *, tell: bool) -> None:
        names = self._names.get(room, {})
        if subject not in names or subject in self._ours.get(room, ()) or self.rosters.has(room, subject):
            return
        name = names.pop(subject)
        if not names:
            del self._names[room]
        if self.told is not None and tell:
            self.told.went(room, subject, name)
