"""What stands around the hub in its tests: a loop turned by hand, a log in memory, sockets that record.

A recorder writes down what a socket was handed; it stands for the transport, never for a part of ours.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from parley.delivery.hub import Hub
from parley.delivery.outbox import Outbox, Turn
from parley.delivery.readers import Subscription
from parley.domain.events import Event, Signal
from parley.domain.principal import Person

ROOM = "lobby"
SOMEBODY = Person("somebody", "Somebody", "account")


class Loop:
    """`call_soon`, `call_later` and a clock; nothing runs until the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._soon: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, Callable[[], None]]] = []

    def clock_s(self) -> float:
        return self.now_s

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._later.append((self.now_s + delay_s, callback))

    def turn(self) -> int:
        """One turn: what was asked for before it. Returns how many callbacks ran."""
        due, self._soon = self._soon, deque()
        for callback in due:
            callback()
        return len(due)

    def run(self) -> None:
        while self.turn():
            pass

    def forward(self, seconds: float) -> None:
        """Let time pass, running what falls due on the way."""
        until_s = self.now_s + seconds
        while due := [timer for timer in self._later if timer[0] <= until_s]:
            first = min(due, key=lambda timer: timer[0])
            self._later.remove(first)
            self.now_s = first[0]
            first[1]()
            self.run()
        self.now_s = until_s


class Lines:
    """An encoder whose frames are lines one can read: `#7` is an event, `~typing.changed` a signal."""

    def __init__(self, mark: str = "") -> None:
        self.mark = mark
        self.encoded: list[int] = []

    def event(self, event: Event) -> bytes:
        self.encoded.append(event.seq)
        return f"{self.mark}#{event.seq}\n".encode()

    def signal(self, signal: Signal) -> bytes:
        return f"{self.mark}~{signal.type}\n".encode()


class Recorder:
    """A connection as the hub sees it, over a socket that records what it is handed."""

    def __init__(
        self,
        turn: Turn,
        encoder: Any,
        subject: str = "ada",
        *,
        name: str | None = None,
        admin: bool = False,
        bytes_max: int = 0,
    ) -> None:
        self.encoder = encoder
        self.subject = subject
        self.name = name or subject.title()
        self.is_admin = admin
        self.writes: list[bytes] = []
        self.unsent_bytes = 0
        self.ended: list[tuple[str, str]] = []
        self.overflows = 0
        self.on_overflow: Callable[[], None] = lambda: None
        self.on_write: Callable[[], None] = lambda: None
        self.fails_with: Exception | None = None
        self.subscriptions: list[Subscription] = []
        self.outbox = Outbox(self, turn, bytes_max, self._overflow)

    def write(self, data: bytes) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        self.writes.append(data)
        self.on_write()

    def subscription_ended(self, subscription: Subscription, reason: str) -> None:
        self.ended.append((subscription.room, reason))
        self.outbox.put(f"ended {reason}\n".encode())

    def stuck(self) -> None:
        """The transport says that it does not drain."""
        self.outbox.congested = True
        for subscription in self.subscriptions:
            subscription.regroup()

    def drained(self) -> None:
        for subscription in self.subscriptions:
            subscription.regroup()
        self.outbox.drained()

    def _overflow(self) -> None:
        self.overflows += 1
        self.on_overflow()

    @property
    def lines(self) -> list[str]:
        return b"".join(self.writes).decode().splitlines()


class Logs:
    """The store's logs, as far as the hub reads them: pages of what it missed, answered when the test says so."""

    def __init__(self, page_max: int = 1000) -> None:
        self.events: dict[str, list[Event]] = {}
        self.page_max = page_max
        self.asked: deque[tuple[str, int, Callable[[Any], None]]] = deque()
        self.reads = 0

    def add(self, kind: str = "message.created", data: dict[str, Any] | None = None, room: str = ROOM) -> Event:
        log = self.events.setdefault(room, [])
        log.append(Event(room, len(log) + 1, kind, "now", SOMEBODY, data or {}))
        return log[-1]

    def head(self, room: str = ROOM) -> int:
        return len(self.events.get(room, ()))

    def read(self, room: str, after: int, done: Callable[[Any], None]) -> None:
        self.reads += 1
        self.asked.append((room, after, done))

    def answer(self, *, as_of: int | None = None) -> None:
        """Answer the oldest question, with the log as it is or as it was at a head."""
        room, after, done = self.asked.popleft()
        log = self.events.get(room, [])[:as_of]
        page = log[after : after + self.page_max]
        done((page, after + len(page) >= len(log)))

    def fail(self) -> None:
        self.asked.popleft()[2](None)

    def answer_all(self) -> None:
        while self.asked:
            self.answer()


class Scene:
    """A hub, its loop and its logs."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.logs = Logs()
        self.due: Callable[[], None] = lambda: None
        self.turn = Turn(self.loop.call_soon, lambda: self.due())
        self.hub = Hub(self.turn, self.loop.call_soon, self.logs.read, self.loop.clock_s)
        self.lines = Lines()

    def reader(self, subject: str = "ada", encoder: Any = None, **more: Any) -> Recorder:
        return Recorder(self.turn, encoder or self.lines, subject, **more)

    def subscribed(
        self,
        subject: str = "ada",
        *,
        role: str | None = "member",
        room: str = ROOM,
        public: bool = True,
        reader: Recorder | None = None,
        **more: Any,
    ) -> Recorder:
        """A reader that is live from the log's head on."""
        reader = reader or self.reader(subject, **more)
        self.subscribe(reader, role=role, room=room, public=public)
        return reader

    def subscribe(
        self, reader: Recorder, *, role: str | None = "member", room: str = ROOM, public: bool = True
    ) -> Subscription:
        subscription = Subscription(reader, room, role)
        joining = self.hub.begin(room, reader)
        assert self.hub.finish(joining, subscription, self.logs.head(room), public=public) == []
        reader.subscriptions.append(subscription)
        return subscription

    def happen(self, *kinds: str, room: str = ROOM) -> list[Event]:
        """New entries of the log, heard at once."""
        events = [self.logs.add(kind, room=room) for kind in kinds or ("message.created",)]
        self.hub.publish(events)
        return events

    def happen_to(self, kind: str, subject: str, role: str = "member", room: str = ROOM, **more: Any) -> Event:
        event = self.logs.add(kind, {"member": {"subject": subject, "role": role}, **more}, room=room)
        self.hub.publish([event])
        return event

    def poll(self) -> None:
        """What the poll finds."""
        self.hub.moved({room: self.logs.head(room) for room in self.hub.heads()})


def events(*seqs: int) -> list[str]:
    """The lines of these events."""
    return [f"#{seq}" for seq in seqs]
