"""Who the other nodes say is in the rooms that are read here, kept whole by versions although the bus may lose.

A node tells what changed among its own people in a room, with the version before and after; whoever misses one asks
for the roster. Versions of late are told again each second, and everything after the bus was away. What presence makes
of it is `presence.py`'s; whether a node still lives is said by `gone`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from parley.delivery.bus import ALL, Bus, of_node, of_room

#: For how long a room's version is told again each second, and of how many rooms at once.
REPEAT_S: Final = 10.0
REPEATED_MAX: Final = 500
#: How long the others have to say who is in a room, once they were asked; and how long that may take at most.
LEARNING_S: Final = 0.25
ASKING_S: Final = 1.0
#: Who came this short a time ago is told of as such also where a node is first asked for a room.
LATELY_S: Final = 3.0

People = dict[str, str]


class Local(Protocol):
    """Our own people."""

    def here(self, room: str) -> People:
        """Subjects and names of those who are connected to this node."""

    def rooms_here(self) -> Iterable[str]: ...
    def elsewhere(self, room: str, came: People, went: People, *, were_there: bool) -> None:
        """Other nodes' people changed. `were_there`: those who came did so before the room was read here."""


class _Roster:
    __slots__ = ("people", "version")

    def __init__(self) -> None:
        self.version = 0
        self.people: People = {}


class Rosters:
    """`local` is told of what changes. `tick` is called about once a second."""

    def __init__(self, bus: Bus, local: Local, clock_s: Callable[[], float]) -> None:
        self._bus = bus
        self._local = local
        self._clock_s = clock_s
        self._count = 0
        self._versions: dict[str, int] = {}
        self._recent: dict[str, float] = {}
        self._lately: dict[tuple[str, str], float] = {}
        self._far: dict[str, dict[str, _Roster]] = {}
        self._followed: Counter[str] = Counter()
        self._followed_at_s: dict[str, float] = {}
        self._asked_at_s: dict[str, float] = {}
        bus.hear("presence.moved", self._moved)
        bus.hear("presence.ask", self._asked)
        bus.hear("presence.roster", self._told)
        bus.hear("presence.versions", self._compare)

    # --- our own ---

    def moved(self, room: str, came: People, went: People) -> None:
        """Our own people in a room have changed."""
        before = self._versions.get(room, 0)
        self._count += 1
        self._versions[room] = self._count
        now_s = self._clock_s()
        self._recent[room] = now_s + REPEAT_S
        self._lately.update({(room, subject): now_s + LATELY_S for subject in came})
        self._bus.note(of_room(room), "presence.moved", [room, before, self._count, came, went])

    def tick(self) -> None:
        now_s = self._clock_s()
        for person in [person for person, until_s in self._lately.items() if until_s <= now_s]:
            del self._lately[person]
        for room, until_s in list(self._recent.items()):
            if until_s <= now_s:
                del self._recent[room]
                if not self._local.here(room):
                    del self._versions[room]
        if self._recent:
            latest = list(self._recent)[-REPEATED_MAX:]
            self._bus.note(ALL, "presence.versions", {room: self._versions[room] for room in latest})

    def announce(self) -> None:
        """Tell of everybody here: the others may have forgotten, or missed it."""
        for room in list(self._local.rooms_here()):
            self._tell(of_room(room), room)

    def _tell(self, topic: str, room: str) -> None:
        people = self._local.here(room)
        lately = [subject for subject in people if (room, subject) in self._lately] if self._lately else []
        self._bus.note(topic, "presence.roster", [room, self._versions.get(room, 0), people, lately])

    def _asked(self, node: str, room: str) -> None:
        self._tell(of_node(node), room)

    # --- the others' ---

    def follow(self, room: str) -> None:
        """Somebody here wants to know who is in the room; `leave` as often."""
        self._followed[room] += 1
        if self._followed[room] == 1:
            self._followed_at_s[room] = self._clock_s()
            self._bus.follow(of_room(room))

    def leave(self, room: str) -> None:
        self._followed[room] -= 1
        if not self._followed[room]:
            del self._followed[room], self._followed_at_s[room]
            self._asked_at_s.pop(room, None)
            self._bus.leave(of_room(room))
            rosters = self._far.pop(room, {})
            for roster in rosters.values():
                self._local.elsewhere(room, {}, roster.people, were_there=True)

    def ask(self, room: str) -> None:
        """The room is heard from now on: who is there?"""
        if room in self._followed:
            self._asked_at_s.setdefault(room, self._clock_s())
            self._bus.note(of_room(room), "presence.ask", room)

    def learned_at_s(self, room: str) -> float:
        """From when on all that the others had to say of a room has come, most likely; infinity of one not followed."""
        followed_at_s = self._followed_at_s.get(room, float("inf"))
        return min(followed_at_s + ASKING_S, self._asked_at_s.get(room, float("inf")) + LEARNING_S)

    def has(self, room: str, subject: str) -> bool:
        return any(subject in roster.people for roster in self._far.get(room, {}).values())

    def gone(self, node: str) -> None:
        """The node does not live any more, and nobody is connected to it."""
        for room, rosters in list(self._far.items()):
            roster = rosters.pop(node, None)
            if roster is not None and roster.people:
                self._local.elsewhere(room, {}, roster.people, were_there=False)

    def _moved(self, node: str, body: Any) -> None:
        room, before, version, came, went = body
        if room not in self._followed:
            return
        roster = self._far.setdefault(room, {}).setdefault(node, _Roster())
        if version <= roster.version:
            return
        if before != roster.version:
            self._bus.note(of_node(node), "presence.ask", room)
            return
        roster.version = version
        roster.people.update(came)
        for subject in went:
            roster.people.pop(subject, None)
        self._local.elsewhere(room, came, went, were_there=False)

    def _told(self, node: str, body: Any) -> None:
        room, version, people, lately = body
        if room not in self._followed:
            return
        rosters = self._far.setdefault(room, {})
        roster = rosters.get(node)
        is_first = roster is None and self._clock_s() < self._followed_at_s[room] + REPEAT_S
        if roster is None:
            roster = rosters[node] = _Roster()
        came = {subject: name for subject, name in people.items() if subject not in roster.people}
        went = {subject: name for subject, name in roster.people.items() if subject not in people}
        roster.version, roster.people = version, people
        before = {subject: name for subject, name in came.items() if is_first and subject not in lately}
        if before:
            self._local.elsewhere(room, before, {}, were_there=True)
        if went or len(came) > len(before):
            self._local.elsewhere(room, came, went, were_there=False)

    def _compare(self, node: str, body: Any) -> None:
        for room, version in body.items():
            if room in self._followed:
                roster = self._far.get(room, {}).get(node)
                if roster is None or roster.version != version:
                    self._bus.note(of_node(node), "presence.ask", room)
