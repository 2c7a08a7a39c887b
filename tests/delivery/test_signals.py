"""What is gathered for a room in a second goes out as one signal of each type."""

from typing import Any

import msgspec
import pytest

from parley.delivery.presence import LEAVING_S, Presence
from parley.delivery.signals import NAMED_MAX, TYPING_S, Signals
from parley.domain.events import Signal
from parley.domain.receipts import ReceiptView
from tests.delivery.scene import ROOM, Lines, Recorder, Scene

NOW_MS = 1_800_000_000_000


class Written(Lines):
    """An encoder that keeps the signals it was given, as JSON would have them."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: list[dict[str, Any]] = []

    def signal(self, signal: Signal) -> bytes:
        self.signals.append(msgspec.to_builtins(signal))
        return super().signal(signal)


class Second:
    """A scene with presence and signals over it, and the seconds as the test lets them pass."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.written = Written()
        self.present = Presence(self.scene.loop.clock_s)
        self.signals = Signals(self.scene.hub, self.scene.loop.clock_s, self.present.count)
        self.present.told = self.signals
        self.scene.hub.came, self.scene.hub.left = self.present.came, self.present.left

    def comes(self, subject: str, **more: Any) -> Recorder:
        return self.scene.subscribed(subject, encoder=self.written, **more)

    def goes(self, reader: Recorder) -> None:
        for subscription in reader.subscriptions:
            self.scene.hub.unsubscribe(subscription)

    def passes(self, seconds: float = 1) -> None:
        self.scene.loop.now_s += seconds
        self.present.tick()
        self.signals.tick(NOW_MS)

    def told(self, kind: str) -> list[Any]:
        """What was told of this since the last time it was asked for."""
        told = [signal["data"] for signal in self.written.signals if signal["type"] == kind]
        self.written.signals = [signal for signal in self.written.signals if signal["type"] != kind]
        return told

    def type(self, subject: str, active: bool = True, room: str = ROOM) -> None:
        self.signals.typing(room, subject, subject.title(), active=active)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered any more, of anybody."""
        state = [*vars(self.present).values(), *vars(self.signals).values()]
        return not any(each for each in state if isinstance(each, dict))


@pytest.fixture
def second() -> Second:
    return Second()


ADA = {"subject": "ada", "name": "Ada"}
BEN = {"subject": "ben", "name": "Ben"}


# --- Typing -----------------------------------------------------------------------------------------------------------


def test_typing_is_told_when_it_starts_and_when_it_stops(second: Second) -> None:
    second.comes("cy")
    second.type("ada")
    second.type("ben")
    second.passes()
    assert second.told("typing.changed") == [{"started": [ADA, BEN], "stopped": []}]
    second.type("ben", active=False)
    second.passes()
    assert second.told("typing.changed") == [{"started": [], "stopped": [BEN]}]


def test_a_signal_names_its_room_and_its_time(second: Second) -> None:
    second.comes("cy")
    second.type("ada")
    second.passes()
    (signal,) = [signal for signal in second.written.signals if signal["type"] == "typing.changed"]
    assert (signal["room"], signal["at"]) == (ROOM, "2027-01-15T08:00:00.000Z")
    assert "seq" not in signal


def test_typing_on_is_not_told_again(second: Second) -> None:
    second.comes("cy")
    for _ in range(10):
        second.type("ada")
        second.passes()
    assert len(second.told("typing.changed")) == 1


def test_typing_that_is_not_said_again_stops_by_itself(second: Second) -> None:
    second.comes("cy")
    second.type("ada")
    second.passes()
    second.passes(TYPING_S - 1.1)
    assert second.told("typing.changed") == [{"started": [ADA], "stopped": []}]
    second.passes(0.2)
    assert second.told("typing.changed") == [{"started": [], "stopped": [ADA]}]


def test_what_starts_and_stops_within_a_second_is_not_told(second: Second) -> None:
    second.comes("cy")
    second.type("ada")
    second.type("ada", active=False)
    second.passes()
    assert second.told("typing.changed") == []


def test_what_stops_and_starts_within_a_second_is_not_told_either(second: Second) -> None:
    second.comes("cy")
    second.type("ada")
    second.passes()
    second.told("typing.changed")
    second.type("ada", active=False)
    second.type("ada")
    second.passes()
    assert second.told("typing.changed") == []
    second.type("ada", active=False)
    second.passes()
    assert second.told("typing.changed") == [{"started": [], "stopped": [ADA]}]


def test_stopping_what_never_started_is_nothing(second: Second) -> None:
    second.comes("cy")
    second.type("ada", active=False)
    second.passes()
    assert second.told("typing.changed") == []


def test_who_sends_has_stopped_typing(second: Second) -> None:
    second.comes("cy")
    second.type("ada")
    second.type("ben")
    second.passes()
    second.told("typing.changed")
    second.signals.sent(ROOM, "ada", "Ada")
    second.signals.sent("attic", "ben", "Ben")
    second.passes()
    assert second.told("typing.changed") == [{"started": [], "stopped": [ADA]}]


def test_who_disconnects_has_stopped_typing_but_not_while_another_connection_is_there(second: Second) -> None:
    second.comes("cy")
    first, last = second.comes("ada"), second.comes("ada")
    second.type("ada")
    second.passes()
    second.told("typing.changed")
    second.goes(first)
    second.passes()
    assert second.told("typing.changed") == []
    second.goes(last)
    second.passes()
    assert second.told("typing.changed") == [{"started": [], "stopped": [ADA]}]


def test_typing_in_a_room_that_nobody_reads_is_not_kept(second: Second) -> None:
    second.type("ada")
    second.comes("cy", room="attic")
    second.passes()
    assert second.told("typing.changed") == []
    assert second.signals._typing == {}


# --- Presence ---------------------------------------------------------------------------------------------------------


def test_coming_is_told_at_the_next_second_and_going_after_a_grace(second: Second) -> None:
    second.comes("cy")
    second.passes()
    second.told("presence.changed")
    ada = second.comes("ada")
    second.passes()
    assert second.told("presence.changed") == [{"joined": [ADA], "left": []}]
    second.goes(ada)
    second.passes(LEAVING_S - 0.1)
    assert second.told("presence.changed") == []
    assert ADA in second.present.listed(ROOM)["present"]  # type: ignore[operator]
    second.passes(0.2)
    assert second.told("presence.changed") == [{"joined": [], "left": [ADA]}]


def test_a_reload_is_neither_coming_nor_going(second: Second) -> None:
    second.comes("cy")
    ada = second.comes("ada")
    second.passes()
    second.told("presence.changed")
    for _ in range(5):
        second.goes(ada)
        second.passes(LEAVING_S - 1)
        ada = second.comes("ada")
        second.passes()
    assert second.told("presence.changed") == []


def test_each_person_is_there_once_however_many_connections(second: Second) -> None:
    second.comes("ben")
    tabs = [second.comes("ada") for _ in range(5)]
    second.passes()
    assert second.told("presence.changed") == [{"joined": [BEN, ADA], "left": []}]
    assert second.present.listed(ROOM) == {"present": [BEN, ADA]}
    for tab in tabs[1:]:
        second.goes(tab)
    second.passes(LEAVING_S * 2)
    assert second.told("presence.changed") == []
    second.goes(tabs[0])
    second.passes(LEAVING_S * 2)
    assert second.told("presence.changed") == [{"joined": [], "left": [ADA]}]
    assert second.present.listed(ROOM) == {"present": [BEN]}


def test_only_members_are_present(second: Second) -> None:
    second.comes("stranger", role=None)
    second.comes("ben")
    second.passes()
    assert second.told("presence.changed") == [{"joined": [BEN], "left": []}]
    assert second.present.listed(ROOM) == {"present": [BEN]}


def test_who_becomes_a_member_is_present_and_who_is_none_any_more_is_gone_at_once(second: Second) -> None:
    second.comes("ben")
    second.comes("ada", role=None)
    second.passes()
    second.told("presence.changed")
    second.scene.happen_to("member.joined", "ada")
    second.passes()
    assert second.told("presence.changed") == [{"joined": [ADA], "left": []}]
    second.scene.happen_to("member.left", "ada")
    second.passes()
    assert second.told("presence.changed") == [{"joined": [], "left": [ADA]}]
    second.scene.happen_to("member.joined", "ada")
    second.passes()
    second.told("presence.changed")
    second.scene.happen_to("member.removed", "ada")
    second.passes()
    assert second.told("presence.changed") == [{"joined": [], "left": [ADA]}]
    assert second.present.listed(ROOM) == {"present": [BEN]}


def test_a_new_name_is_the_one_that_is_shown(second: Second) -> None:
    second.comes("ada")
    second.comes("ada", name="Ada Lovelace")
    assert second.present.listed(ROOM) == {"present": [{"subject": "ada", "name": "Ada Lovelace"}]}


def test_with_more_than_a_hundred_present_changes_are_told_as_a_count(second: Second) -> None:
    readers = [second.comes(f"r{n}") for n in range(NAMED_MAX)]
    second.passes()
    (told,) = second.told("presence.changed")
    assert len(told["joined"]) == NAMED_MAX
    readers.append(second.comes("one-more"))
    second.passes()
    assert second.told("presence.changed") == [{"count": NAMED_MAX + 1}]
    second.goes(readers[0])
    second.passes(LEAVING_S)
    assert second.told("presence.changed") == [{"joined": [], "left": [{"subject": "r0", "name": "R0"}]}]


def test_the_list_is_cut_at_a_hundred_and_adds_the_count(second: Second) -> None:
    for n in range(NAMED_MAX + 20):
        second.comes(f"r{n}")
    listed = second.present.listed(ROOM)
    assert len(listed["present"]) == NAMED_MAX  # type: ignore[arg-type]
    assert listed["count"] == NAMED_MAX + 20


# --- Receipts ---------------------------------------------------------------------------------------------------------


def receipt(subject: str, seq: int) -> ReceiptView:
    return ReceiptView(subject, seq, "then")


def test_receipts_of_a_second_are_told_together_each_persons_last(second: Second) -> None:
    second.comes("cy")
    for moved in (receipt("ada", 1), receipt("ben", 1), receipt("ada", 3)):
        second.signals.receipt(ROOM, moved)
    second.passes()
    assert second.told("receipts.changed") == [
        {
            "receipts": [
                {"subject": "ada", "seq": 3, "at": "then"},
                {"subject": "ben", "seq": 1, "at": "then"},
            ]
        }
    ]
    second.passes()
    assert second.told("receipts.changed") == []


def test_with_more_than_a_hundred_present_receipts_are_counted(second: Second) -> None:
    for n in range(NAMED_MAX + 1):
        second.comes(f"r{n}")
        second.signals.receipt(ROOM, receipt(f"r{n}", 1))
    second.signals.receipt(ROOM, receipt("r1", 2))
    second.passes()
    assert second.told("receipts.changed") == [{"count": NAMED_MAX + 1}]


def test_signals_do_not_grow_with_the_square_of_a_room(second: Second) -> None:
    readers = [second.comes(f"r{n}") for n in range(300)]
    for reader in readers:
        second.type(reader.subject)
        second.signals.receipt(ROOM, receipt(reader.subject, 1))
    second.passes()
    second.scene.loop.run()
    assert all(len(reader.writes) == 1 for reader in readers)
    assert len(readers[0].writes[0].splitlines()) == 3  # one of each type


# --- Bounds -----------------------------------------------------------------------------------------------------------


def test_nothing_is_gathered_for_a_room_that_nobody_reads(second: Second) -> None:
    second.signals.receipt(ROOM, receipt("ada", 1))
    second.signals.sent(ROOM, "ada", "Ada")
    second.type("ada")
    assert second.is_empty


def test_when_everybody_has_gone_nothing_is_remembered(second: Second) -> None:
    for n in range(50):
        for room in ("a", "b"):
            reader = second.comes(f"r{n}", room=room)
            second.comes(f"r{n}", room=room, reader=reader)
            second.type(reader.subject, room=room)
            second.signals.receipt(room, receipt(reader.subject, 1))
            second.goes(reader)
        second.passes(0.5)
    assert not second.is_empty
    second.passes(LEAVING_S)
    second.passes(TYPING_S)
    assert second.is_empty
    assert second.scene.hub.rooms == {}
