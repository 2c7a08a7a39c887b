"""Signals joined for each room and second, so that they never grow with the square of a room.

What happened in a second goes out as one signal of each type. Decides nothing about who may signal.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import convert

from parley.delivery.hub import Hub
from parley.domain.events import Signal
from parley.domain.ids import rfc3339
from parley.domain.receipts import ReceiptView

#: How long somebody is taken to type without saying so again.
TYPING_S: Final = 6.0
#: With more present than this, presence and receipts are told as a count.
NAMED_MAX: Final = 100
#: How a node tells the others that somebody types: never on the wire.
TYPED: Final = "typing.set"


class Signals:
    """Gathers, and every second hands the hub what it gathered. `tick` is called about once a second."""

    def __init__(self, hub: Hub, clock_s: Callable[[], float], present: Callable[[str], int]) -> None:
        self._hub = hub
        self._clock_s = clock_s
        self._present = present
        #: Tells every node, this one too, what `typing` is then told on each; None where there is no other.
        self.publish: Callable[[Signal], None] | None = None
        self._typing: dict[str, dict[str, tuple[str, float, str | None]]] = {}
        self._started: dict[str, dict[str, dict[str, str]]] = {}
        self._stopped: dict[str, dict[str, dict[str, str]]] = {}
        self._previews: dict[str, dict[str, dict[str, str]]] = {}
        self._receipts: dict[str, dict[str, Any]] = {}
        self._joined: dict[str, dict[str, str]] = {}
        self._left: dict[str, dict[str, str]] = {}

    def typed(self, room: str, subject: str, name: str, *, active: bool, text: str | None = None) -> None:
        """Somebody who is connected here began or ended typing: `typing`, on every node."""
        if self.publish is None:
            self.typing(room, subject, name, active=active, text=text)
        else:
            data = {"subject": subject, "name": name, "active": active, "text": text}
            self.publish(Signal(room, TYPED, "", data))

    def heard(self, signal: Signal) -> None:
        """A signal of the bus that is not for clients as it is."""
        data = signal.data
        if signal.type == TYPED:
            self.typing(signal.room, data["subject"], data["name"], active=data["active"], text=data["text"])
        else:
            for moved in data["receipts"]:
                self.receipt(signal.room, convert(moved, ReceiptView) if isinstance(moved, dict) else moved)

    def typing(self, room: str, subject: str, name: str, *, active: bool, text: str | None = None) -> None:
        """Somebody began or ended typing; said again while it goes on. `text` is what they have typed so far.

        It is shown to those who are privy (`Subscription.privy`), and to nobody else.
        """
        here = self._typing.get(room)
        if not active:
            if here is not None and here.pop(subject, None) is not None:
                self._stop(room, subject, name)
            return
        if here is None:
            if room not in self._hub.rooms:
                return  # nobody here reads the room
            here = self._typing[room] = {}
        if subject not in here and self._stopped.get(room, {}).pop(subject, None) is None:
            self._started.setdefault(room, {})[subject] = {"subject": subject, "name": name}
        if text is not None and (subject not in here or here[subject][2] != text):
            self._previews.setdefault(room, {})[subject] = {"subject": subject, "name": name, "text": text}
        here[subject] = (name, self._clock_s() + TYPING_S, text)

    def sent(self, room: str, subject: str, name: str) -> None:
        """Somebody has sent what they typed."""
        if room in self._typing:
            self.typing(room, subject, name, active=False)

    def fell_silent(self, room: str, subject: str, name: str) -> None:
        """Somebody's last connection here is gone, and with it what they typed."""
        if subject in self._typing.get(room, ()):
            self.typed(room, subject, name, active=False)

    def receipt(self, room: str, moved: Any) -> None:
        """A receipt moved forward: `moved` has `subject`, `seq` and `at`."""
        if room in self._hub.rooms:
            self._receipts.setdefault(room, {})[moved.subject] = moved

    def came(self, room: str, subject: str, name: str) -> None:
        if self._left.get(room, {}).pop(subject, None) is None and room in self._hub.rooms:
            self._joined.setdefault(room, {})[subject] = name

    def went(self, room: str, subject: str, name: str) -> None:
        if self._joined.get(room, {}).pop(subject, None) is None and room in self._hub.rooms:
            self._left.setdefault(room, {})[subject] = name

    def tick(self, now_ms: int) -> None:
        """Tell each room what gathered since the last tick."""
        self._expire()
        at = rfc3339(now_ms)
        for room in self._started.keys() | self._stopped.keys() | self._previews.keys():
            began, previews = self._started.get(room, {}), self._previews.get(room, {})
            stopped = list(self._stopped.get(room, {}).values())
            plain = {"started": list(began.values()), "stopped": stopped}
            shown = {"started": list({**began, **previews}.values()), "stopped": stopped}
            self._hub.signal_apart(
                Signal(room, "typing.changed", at, plain) if began or stopped else None,
                Signal(room, "typing.changed", at, shown) if began or stopped or previews else None,
            )
        for room in self._joined.keys() | self._left.keys():
            joined, left = self._joined.get(room, {}), self._left.get(room, {})
            if joined or left:
                count = self._present(room)
                data = {"count": count} if count > NAMED_MAX else {"joined": _people(joined), "left": _people(left)}
                self._hub.signal(Signal(room, "presence.changed", at, data))
        for room, moved in self._receipts.items():
            many = self._present(room) > NAMED_MAX
            data = {"count": len(moved)} if many else {"receipts": list(moved.values())}
            self._hub.signal(Signal(room, "receipts.changed", at, data))
        for gathered in (self._started, self._stopped, self._previews, self._joined, self._left, self._receipts):
            gathered.clear()

    def _expire(self) -> None:
        now = self._clock_s()
        for room, here in list(self._typing.items()):
            for subject, (name, until, _) in list(here.items()):
                if until <= now:
                    del here[subject]
                    self._stop(room, subject, name)
            if not here:
                del self._typing[room]

    def _stop(self, room: str, subject: str, name: str) -> None:
        self._previews.get(room, {}).pop(subject, None)
        if self._started.get(room, {}).pop(subject, None) is None:
            self._stopped.setdefault(room, {})[subject] = {"subject": subject, "name": name}


def _people(named: dict[str, str]) -> list[dict[str, str]]:
    return [{"subject": subject, "name": name} for subject, name in named.items()]
