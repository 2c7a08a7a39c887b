"""The bus at once, the poll to make sure: what one node hears, and what it does about it."""

from typing import Any

import pytest

from parley.delivery.bus import LocalBus
from parley.delivery.presence import LEAVING_S, Presence
from parley.delivery.signals import Signals
from parley.domain.errors import Refusal
from parley.domain.events import Change, Event, Signal
from parley.domain.ports import Moved
from parley.domain.principal import Person
from parley.domain.receipts import ReceiptView
from parley.domain.revocation import Revocation
from parley.service.watch import FENCE_S, POLL_INTERVAL_S, SIGNALS_INTERVAL_S, SWEEP_INTERVAL_S, Watch
from parley.tokens import RevocationSet
from parley.tokens.claims import own_claims
from parley.transport.timers import Timer
from tests.delivery.scene import ROOM, Recorder, Scene
from tests.service.shelf import Shelf
from tests.tokens.forge import claims

START_MS = 1_800_000_000_000


class Node:
    """A watch over a hub, and records of what it told the others."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.loop = self.scene.loop
        self.shelf = Shelf()
        self.present = Presence(self.loop.clock_s)
        self.signals = Signals(self.scene.hub, self.loop.clock_s, self.present.count)
        self.present.told = self.signals
        self.scene.hub.came, self.scene.hub.left = self.present.came, self.present.left
        self.revocations = RevocationSet()
        self.heard: list[Any] = []
        self.set_back_s = 0.0
        self.watch = Watch(
            self.shelf,
            self.scene.hub,
            self.signals,
            self.present,
            self,  # type: ignore[arg-type]  # admission: it hears `forget`
            self,
            self.revocations,
            self._schedule,
            self.loop.call_later,
            self.clock_ms,
        )
        self.bus = LocalBus()
        self.bus.receive(self.watch.received)

    def clock_ms(self) -> int:
        return START_MS + int((self.loop.now_s - 1000 - self.set_back_s) * 1000)

    def _schedule(self, at_s: float, callback: Any) -> Timer:
        timer = Timer(at_s, callback, 0)
        self.loop.call_later(at_s - self.loop.now_s, lambda: timer.callback and timer.callback())
        return timer

    # --- admission and the connections of the node ---

    def forget(self, subject: str) -> None:
        self.heard.append(("forget", subject))

    def rights_changed(self, subject: str) -> None:
        self.heard.append(("rights", subject))

    def revoked(self, target: str, *, before_ms: int, reason: str) -> None:
        self.heard.append(("revoked", target, before_ms, reason))

    def fence(self) -> None:
        self.heard.append("fence")

    def unfence(self) -> None:
        self.heard.append("unfence")

    # --- what happens ---

    def start(self, *in_force: Revocation) -> None:
        self.watch.start(in_force)

    def change(self, kind: Any, target: str, **detail: Any) -> Change:
        return Change(kind, target, self.clock_ms(), detail)

    def told(self) -> list[Any]:
        self.loop.run()
        told, self.heard = self.heard, []
        return told

    def pass_with_polls(self, seconds: float) -> None:
        """Let time pass while the store answers every poll at once."""
        for _ in range(round(seconds * 20)):
            self.loop.forward(0.05)
            while self.shelf.polls:
                self.shelf.answer_poll()


@pytest.fixture
def node() -> Node:
    return Node()


def created(seq: int, sender: str = "ada") -> Event:
    return Event(ROOM, seq, "message.created", "now", Person(sender, sender.title(), "account"), {})


def reader_of(node: Node, subject: str = "cy", **more: Any) -> Recorder:
    return node.scene.subscribed(subject, **more)


# --- From the bus -----------------------------------------------------------------------------------------------------


def test_events_of_the_bus_reach_the_readers(node: Node) -> None:
    cy = reader_of(node)
    node.bus.publish([created(1)], [], [])
    node.loop.run()
    assert cy.lines == ["#1"]


def test_a_message_that_is_heard_ends_its_senders_typing(node: Node) -> None:
    reader_of(node)
    for subject in ("ada", "ben"):
        node.signals.typing(ROOM, subject, subject.title(), active=True)
    node.bus.publish([created(1, "ada")], [], [])
    assert list(node.signals._typing[ROOM]) == ["ben"]


def test_receipts_are_gathered_and_other_signals_go_on_at_once(node: Node) -> None:
    cy = reader_of(node)
    node.start()
    receipts = Signal(ROOM, "receipts.changed", "now", {"receipts": [ReceiptView("ada", 1, "now")]})
    node.bus.publish([], [], [receipts, receipts, Signal(ROOM, "stream.changed", "now", {})])
    node.loop.run()
    assert cy.lines == ["~stream.changed"]
    node.loop.forward(SIGNALS_INTERVAL_S)
    assert sorted(cy.lines[1:]) == ["~presence.changed", "~receipts.changed"]


def test_a_bus_that_loses_is_made_up_for_by_the_poll(node: Node) -> None:
    cy = reader_of(node)
    bus = LocalBus(lose=lambda event: event.seq == 1)
    bus.receive(node.watch.received)
    node.start()
    bus.publish([node.scene.logs.add()], [], [])
    node.loop.run()
    assert cy.lines == []
    assert node.shelf.polls[0][0] == {ROOM: 0}
    node.shelf.answer_poll(Moved({ROOM: 1}, []))
    node.scene.logs.answer()
    node.loop.run()
    assert cy.lines == ["#1"]


def test_a_bus_that_nobody_listens_to_loses_everything() -> None:
    LocalBus().publish([created(1)], [], [])


# --- Changes, by the bus and by the poll ------------------------------------------------------------------------------


def test_an_account_that_changed_is_forgotten_and_its_connections_are_told(node: Node) -> None:
    node.bus.publish([], [node.change("account", "ada")], [])
    assert node.told() == [("forget", "ada"), ("rights", "ada")]


def test_changes_take_effect_after_the_answers_that_leave_with_them(node: Node) -> None:
    node.bus.publish([], [node.change("account", "ada")], [])
    assert node.heard == []
    assert node.told() != []


@pytest.mark.parametrize("target", ["token:t", "session:s", "subject:ada", "conversation:c-1"])
def test_a_revocation_is_known_and_its_connections_are_told(node: Node, target: str) -> None:
    change = node.change("revocation", target, before_ms=START_MS, until_ms=START_MS + 60_000, reason="stolen")
    node.bus.publish([], [change], [])
    assert node.told() == [("revoked", target, START_MS, "stolen")]
    assert is_revoked(node, target)


CLAIM_OF = {"token": "jti", "session": "sid", "subject": "sub", "conversation": "conversation"}


def is_revoked(node: Node, target: str) -> bool:
    kind, _, named = target.partition(":")
    made = claims(iat=START_MS / 1000 - 1, type="guest", **{CLAIM_OF[kind]: named})
    return node.revocations.reason_for(own_claims(made)) is not None


def blocked(node: Node) -> Change:
    held = {"before_ms": node.clock_ms(), "until_ms": START_MS + 10**9, "reason": "spam"}
    return node.change("revocation", "conversation:c-1", **held)


def test_a_block_that_was_lifted_is_not_brought_back_by_the_poll(node: Node) -> None:
    node.start()
    node.told()
    block = blocked(node)
    node.loop.forward(0.05)
    lift = node.change("lift", "conversation:c-1")
    node.bus.publish([], [block, lift], [])
    node.told()
    assert not is_revoked(node, "conversation:c-1")
    node.shelf.answer_poll(Moved({}, [block]))
    assert node.told() == [], "who has come back since stays"
    assert not is_revoked(node, "conversation:c-1")


def test_a_block_that_came_back_is_not_lifted_by_the_poll(node: Node) -> None:
    node.start()
    lift = node.change("lift", "conversation:c-1")
    node.loop.forward(0.05)
    block = blocked(node)
    node.bus.publish([], [lift, block], [])
    node.told()
    node.shelf.answer_poll(Moved({}, [lift]))
    assert is_revoked(node, "conversation:c-1")


def test_what_the_store_holds_at_the_start_is_in_force_from_the_start(node: Node) -> None:
    assert not is_revoked(node, "session:s")
    held = {"at_ms": START_MS, "before_ms": START_MS, "until_ms": START_MS + 60_000}
    node.start(Revocation(target="session:s", reason="stolen", **held))
    assert is_revoked(node, "session:s")


def test_an_eviction_ends_the_subscription_and_the_poll_does_not_end_the_next_one(node: Node) -> None:
    cy = reader_of(node, role=None)
    ben = reader_of(node, "ben")
    node.start()
    node.loop.now_s += 0.01
    eviction = node.change("eviction", ROOM, subject="cy", reason="removed")
    node.bus.publish([], [eviction], [])
    node.loop.run()
    assert cy.ended == [(ROOM, "removed")]
    node.loop.now_s += 0.01
    node.scene.subscribe(cy, role=None)  # it was not banned
    node.shelf.answer_poll(Moved({}, [eviction]))
    node.bus.publish([created(1)], [], [])
    node.loop.run()
    assert cy.ended == [(ROOM, "removed")]
    assert cy.lines[-1] == ben.lines[-1] == "#1"


def test_an_eviction_that_the_bus_lost_is_found_by_the_poll(node: Node) -> None:
    cy = reader_of(node, role=None)
    node.start()
    node.loop.now_s += 0.01
    eviction = node.change("eviction", ROOM, subject="cy", reason="removed")
    node.loop.now_s += 0.5
    node.shelf.answer_poll(Moved({}, [eviction]))
    assert cy.ended == [(ROOM, "removed")]


def test_a_change_that_cannot_be_followed_hides_none_behind_it(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.start()
    node.shelf.answer_poll(Moved({}, [node.change("eviction", ROOM), node.change("account", "ada")]))
    assert node.told() == [("forget", "ada"), ("rights", "ada")]
    assert "could not be followed" in caplog.text
    assert node.watch.polled_at_ms == START_MS


# --- The poll ---------------------------------------------------------------------------------------------------------


def test_the_poll_asks_twice_a_second_and_not_before_it_was_answered(node: Node) -> None:
    node.start()
    assert len(node.shelf.polls) == 1
    node.loop.forward(POLL_INTERVAL_S * 3)
    assert len(node.shelf.polls) == 1
    node.shelf.answer_poll()
    node.loop.forward(POLL_INTERVAL_S - 0.01)
    assert node.shelf.polls == []
    node.loop.forward(0.02)
    assert len(node.shelf.polls) == 1


@pytest.mark.parametrize(("problem", "is_logged"), [(Refusal("unavailable"), False), (ValueError("a bug"), True)])
def test_whatever_comes_of_one_poll_the_next_is_asked(
    node: Node, caplog: pytest.LogCaptureFixture, problem: Exception, is_logged: bool
) -> None:
    node.start()
    node.shelf.answer_poll(problem)
    assert node.watch.polled_at_ms is None
    assert ("the poll failed" in caplog.text) == is_logged
    node.loop.forward(POLL_INTERVAL_S)
    assert len(node.shelf.polls) == 1


def test_when_the_store_last_answered_is_known(node: Node) -> None:
    node.start()
    node.loop.forward(0.2)
    node.shelf.answer_poll()
    assert node.watch.polled_at_ms == START_MS + 200


def test_one_that_is_stopped_asks_and_tells_nothing_more(node: Node) -> None:
    cy = reader_of(node)
    node.start()
    node.watch.stop()
    node.shelf.answer_poll()
    node.loop.forward(10)
    assert node.shelf.polls == []
    assert node.shelf.jobs == []
    assert node.told() == []
    assert cy.lines == []


# --- The fence --------------------------------------------------------------------------------------------------------


def test_as_long_as_the_poll_is_answered_nothing_is_fenced(node: Node) -> None:
    node.start()
    node.pass_with_polls(10)
    assert node.told() == []


def test_without_a_good_read_for_a_second_everybody_is_fenced_until_there_is_one(node: Node) -> None:
    node.start()
    node.shelf.answer_poll()
    node.loop.forward(POLL_INTERVAL_S)
    node.loop.forward(FENCE_S - POLL_INTERVAL_S - 0.01)
    assert node.told() == []
    node.loop.forward(0.02)
    assert node.told() == ["fence"]
    node.shelf.answer_poll(Refusal("unavailable"))
    node.loop.forward(POLL_INTERVAL_S)
    assert node.told() == []
    node.shelf.answer_poll()
    assert node.told() == ["unfence"]
    node.pass_with_polls(5)
    assert node.told() == []


def test_an_answer_counts_from_when_it_was_asked_for(node: Node) -> None:
    node.start()
    node.loop.forward(FENCE_S - 0.1)
    node.shelf.answer_poll()  # as of 0.9 s ago
    node.loop.forward(0.2)
    assert node.told() == ["fence"]


def test_an_answer_from_before_a_pause_lifts_no_fence(node: Node) -> None:
    node.start()
    node.loop.forward(30)  # a process that was paused wakes up, and finds the answer to what it asked before
    assert node.told() == ["fence"]
    node.shelf.answer_poll()
    assert node.told() == []
    node.loop.forward(POLL_INTERVAL_S)
    node.shelf.answer_poll()
    assert node.told() == ["unfence"]


# --- Every second, every hour -----------------------------------------------------------------------------------------


def test_who_has_gone_is_told_in_time(node: Node) -> None:
    ben, cy = reader_of(node, "ben"), reader_of(node)
    node.start()
    node.pass_with_polls(1)
    node.scene.hub.unsubscribe(ben.subscriptions[0])
    node.pass_with_polls(LEAVING_S - 1)
    assert cy.lines == ["~presence.changed"]
    node.pass_with_polls(2)
    assert cy.lines == ["~presence.changed"] * 2


@pytest.mark.parametrize("set_back_s", [0.0, 86_400.0])
def test_what_has_expired_is_swept_once_an_hour_whatever_the_calendar_says(node: Node, set_back_s: float) -> None:
    node.start()
    node.set_back_s = set_back_s
    node.loop.now_s += SWEEP_INTERVAL_S
    node.loop.forward(SIGNALS_INTERVAL_S)
    assert [type(job.params).__name__ for job in node.shelf.jobs] == ["Sweep"]
    node.shelf.answer({})
    node.loop.forward(SIGNALS_INTERVAL_S * 5)
    assert node.shelf.jobs == []
