"""Replay and live, joined: whatever overtakes what, a reader is told the log from where it was, once and in order."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.delivery import catchup
from parley.delivery.catchup import READS_MAX
from parley.delivery.readers import Subscription
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.ports import Decision
from parley.domain.replay import Subscribe, Subscribed
from tests.delivery.scene import ROOM, Recorder, Scene

EPOCH = "epoch"


class Frames:
    """An encoder whose frames are JSON lines."""

    def event(self, event: Event) -> bytes:
        return line(event=event.seq)

    def signal(self, signal: Signal) -> bytes:
        return line(signal=signal.type)


def line(**told: Any) -> bytes:
    return json.dumps(told).encode() + b"\n"


class Asked:
    """One reading of the log that is under way; `follows` where it is for a subscription that was held."""

    def __init__(self, params: Subscribe, got: Callable[[Any], None], *, follows: bool = False) -> None:
        self.params = params
        self.got = got
        self.follows = follows


class Client(Recorder):
    """What a connection does about subscriptions, and what its client then sees in the order of the socket."""

    def __init__(self, scene: Scene, subject: str) -> None:
        super().__init__(scene.turn, Frames(), subject)
        self.scene = scene
        self.is_open = True
        self.is_held = False
        self.stranded_in: list[Subscription] = []
        self.live: Subscription | None = None
        self.asked: list[Asked] = []
        self.overs = 0

    def subscribe(self, after: int | None, epoch: str | None) -> None:
        params = Subscribe(room=ROOM, after=after, epoch=epoch)
        catchup.subscribe(
            self.scene.hub,
            self,
            params,
            lambda page, got: self.asked.append(Asked(page, got)),
            lambda: self.reads,
            self._answered,
            self._over,
        )

    @property
    def reads(self) -> bool:
        return self.is_open and not self.is_held

    def write(self, data: bytes) -> None:
        assert not (self.is_held and b'"event"' in data), "a held client was handed an event"
        super().write(data)

    def hold(self) -> None:
        """What a connection does at the expiry of its token."""
        self.is_held = True
        for subscription in self.subscriptions:
            self.scene.hub.hold(subscription)
        self.outbox.withhold()

    def release(self) -> None:
        if self.is_held:
            self.is_held = False
            for subscription in list(self.subscriptions):
                self.follow(subscription)

    def follow(self, subscription: Subscription) -> None:
        if self.reads and not subscription.is_live:
            catchup.follow(
                self.scene.hub,
                subscription,
                lambda page, got: self.asked.append(Asked(page, got, follows=True)),
                lambda: self.reads,
            )

    def stranded(self, subscription: Subscription) -> None:
        self.stranded_in.append(subscription)

    def try_again(self) -> None:
        stranded, self.stranded_in = self.stranded_in, []
        for subscription in stranded:
            self.follow(subscription)

    def _answered(self, subscription: Subscription | None, outcome: Any) -> None:
        self.live = subscription
        self.subscriptions = [subscription] if subscription else []
        if isinstance(outcome, Refusal):
            self.outbox.put(line(refused=outcome.code))
        else:
            told = {**outcome, "events": [event.seq for event in outcome["events"]]}
            self.outbox.put(line(answer=told, live=subscription is not None))

    def _over(self) -> None:
        self.overs += 1

    def subscription_ended(self, subscription: Subscription, reason: str) -> None:
        self.live = None
        self.subscriptions = []
        self.outbox.put(line(ended=reason))

    def unsubscribe(self) -> None:
        if self.live is not None:
            self.scene.hub.unsubscribe(self.live)
            self.live, self.subscriptions = None, []
            self.outbox.put(line(ended="unsubscribed"))

    def close(self) -> None:
        self.is_open = False
        self.unsubscribe()

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in b"".join(self.writes).splitlines()]


class Store:
    """Who may read what, as of any head of the log: what `domain/replay.py` decides, on a list."""

    page_max = 4

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def role(self, subject: str, head: int) -> tuple[str | None, bool]:
        """The subject's role, and whether it is banned."""
        role, banned = None, False
        for event in self.log(head):
            if event.data.get("member", {}).get("subject") == subject:
                role = None if event.type in ("member.removed", "member.left") else event.data["member"]["role"]
                banned = bool(event.data.get("banned")) and role is None
        return role, banned

    def public(self, head: int) -> bool:
        views = [event.data["room"] for event in self.log(head) if event.type == "room.updated"]
        return not views or views[-1]["visibility"] == "public"

    def may_read(self, subject: str, head: int) -> bool:
        role, banned = self.role(subject, head)
        return not banned and (role is not None or self.public(head))

    def log(self, head: int | None = None) -> list[Event]:
        return self.scene.logs.events.get(ROOM, [])[:head]

    def decide(self, subject: str, p: Subscribe, head: int) -> Any:
        if not self.may_read(subject, head):
            return Refusal("not_found")
        reset = complete = True
        if p.after is None and p.epoch in (None, EPOCH):
            events, reset = [], False
        elif p.epoch not in (None, EPOCH) or (p.after or 0) > head:
            events = self.log(head)[-self.page_max :]
        else:
            reset = False
            events = self.log(head)[p.after or 0 :][: self.page_max]
            complete = (p.after or 0) + len(events) >= head
        reply = {
            "room": ROOM,
            "epoch": EPOCH,
            "seq": head if complete else events[-1].seq,
            "events": events,
            "complete": complete,
            "reset": reset,
        }
        return Decision(Subscribed(reply, self.role(subject, head)[0], self.public(head)))

    def answer(self, client: Client, n: int, head: int) -> None:
        asked = client.asked.pop(n)
        asked.got(self.decide(client.subject, asked.params, head))


@pytest.fixture
def store(scene: Scene) -> Store:
    return Store(scene)


def answer(store: Store, client: Client, head: int | None = None) -> None:
    store.answer(client, 0, store.scene.logs.head() if head is None else head)


def told_after_a_turn(scene: Scene, client: Client) -> list[dict[str, Any]]:
    scene.loop.run()
    return client.told


def live_reply(events: list[int], seq: int) -> dict[str, Any]:
    reply = {"room": ROOM, "epoch": EPOCH, "seq": seq, "events": events, "complete": True, "reset": False}
    return {"answer": reply, "live": True}


def test_a_replay_is_followed_by_what_is_live(scene: Scene, store: Store) -> None:
    for _ in range(3):
        scene.logs.add()
    client = Client(scene, "ada")
    client.subscribe(1, None)
    answer(store, client)
    scene.happen()
    assert told_after_a_turn(scene, client) == [live_reply([2, 3], 3), {"event": 4}]
    assert client.overs == 1


def test_without_after_there_is_no_replay_but_everything_from_here(scene: Scene, store: Store) -> None:
    scene.logs.add()
    client = Client(scene, "ada")
    client.subscribe(None, None)
    answer(store, client)
    scene.happen()
    assert told_after_a_turn(scene, client) == [live_reply([], 1), {"event": 2}]


def test_what_happens_while_the_log_is_read_follows_the_answer(scene: Scene, store: Store) -> None:
    scene.subscribed("ben")
    client = Client(scene, "ada")
    client.subscribe(0, None)
    scene.happen()
    scene.happen()
    answer(store, client, head=1)
    scene.happen()
    assert told_after_a_turn(scene, client) == [live_reply([1], 1), {"event": 2}, {"event": 3}]


def test_a_page_never_holds_more_than_the_store_put_into_it(scene: Scene, store: Store) -> None:
    scene.subscribed("ben")
    for _ in range(Store.page_max):
        scene.happen()
    client = Client(scene, "ada")
    client.subscribe(0, None)
    scene.happen()
    answer(store, client, head=Store.page_max)
    first = told_after_a_turn(scene, client)[0]["answer"]
    assert (len(first["events"]), first["seq"]) == (Store.page_max, Store.page_max)


def test_a_page_that_does_not_reach_the_head_subscribes_nothing(scene: Scene, store: Store) -> None:
    for _ in range(Store.page_max + 1):
        scene.logs.add()
    client = Client(scene, "ada")
    client.subscribe(0, None)
    answer(store, client)
    told = told_after_a_turn(scene, client)
    assert told[0]["answer"]["complete"] is False
    assert told[0]["live"] is False
    assert scene.hub.rooms == {}
    assert client.overs == 1


def test_a_refusal_subscribes_nothing_and_ends_what_was_there(scene: Scene, store: Store) -> None:
    client = Client(scene, "ada")
    client.subscribe(None, None)
    answer(store, client)
    scene.logs.add("member.removed", {"member": {"subject": "ada"}, "banned": True})
    client.subscribe(None, None)
    answer(store, client)
    assert told_after_a_turn(scene, client)[1:] == [{"refused": "not_found"}]
    assert scene.hub.rooms == {}
    assert client.overs == 2


def test_one_that_is_removed_while_the_log_is_read_is_not_let_in(scene: Scene, store: Store) -> None:
    scene.subscribed("ben")
    client = Client(scene, "ada")
    client.subscribe(0, None)
    scene.happen_to("member.removed", "ada", banned=True)
    answer(store, client, head=0)  # read before
    assert told_after_a_turn(scene, client) == []
    answer(store, client)
    assert told_after_a_turn(scene, client) == [{"refused": "not_found"}]


def test_others_joining_meanwhile_make_nobody_read_anew(scene: Scene, store: Store) -> None:
    scene.subscribed("ben")
    client = Client(scene, "ada")
    client.subscribe(0, None)
    scene.happen_to("member.joined", "cy")
    answer(store, client, head=0)
    assert told_after_a_turn(scene, client) == [live_reply([], 0), {"event": 1}]


def test_a_read_that_is_overtaken_again_and_again_ends_as_unavailable(scene: Scene, store: Store) -> None:
    scene.subscribed("ben")
    scene.happen()
    client = Client(scene, "ada")
    client.subscribe(0, None)
    for _ in range(READS_MAX):
        answer(store, client, head=0)
    assert told_after_a_turn(scene, client) == [{"refused": "unavailable"}]
    assert client.overs == 1
    assert not client.asked


def test_a_connection_that_ended_meanwhile_is_left_alone(scene: Scene, store: Store) -> None:
    came: list[Subscription] = []
    scene.hub.came = came.append
    client = Client(scene, "ada")
    client.subscribe(0, None)
    client.close()
    answer(store, client)
    assert came == []
    assert scene.hub.rooms == {}
    assert client.live is None
    assert client.overs == 1


def test_a_connection_that_what_was_due_has_ended_is_left_alone(scene: Scene, store: Store) -> None:
    scene.subscribed("ben")
    client = Client(scene, "ada")
    client.subscribe(0, None)
    scene.happen()
    scene.due = client.close
    answer(store, client)
    assert list(scene.hub.rooms[ROOM].by_subject) == ["ben"]
    assert client.live is None


def test_an_answer_that_unsubscribes_is_followed_by_nothing(scene: Scene, store: Store) -> None:
    class Full(Client):
        def _answered(self, subscription: Subscription | None, outcome: Any) -> None:
            super()._answered(subscription, outcome)
            self.unsubscribe()

    scene.subscribed("ben")
    client = Full(scene, "ada")
    client.subscribe(0, None)
    scene.happen()
    answer(store, client, head=0)
    assert told_after_a_turn(scene, client)[1:] == [{"ended": "unsubscribed"}]


# --- Held, and released ----------------------------------------------------------------------------------------------


def subscribed(scene: Scene, store: Store, subject: str = "ada") -> Client:
    client = Client(scene, subject)
    client.subscribe(None, None)
    answer(store, client)
    scene.loop.run()
    client.writes.clear()
    return client


def test_what_a_held_reader_missed_is_given_page_by_page_as_its_socket_drains(scene: Scene, store: Store) -> None:
    client = subscribed(scene, store)
    client.hold()
    for _ in range(Store.page_max * 2 + 1):
        scene.happen()
    scene.loop.run()
    client.release()
    client.on_write = client.stuck
    for told in (4, 8, 9):
        assert len(client.asked) == 1
        answer(store, client)
        scene.loop.run()
        assert client.told == [{"event": seq} for seq in range(1, told + 1)]
        client.drained()
    client.on_write = lambda: None
    client.drained()
    scene.happen()
    assert told_after_a_turn(scene, client)[-1] == {"event": 10}


def test_one_page_of_one_room_is_under_way_at_a_time(scene: Scene, store: Store) -> None:
    client = subscribed(scene, store)
    others = []
    for room in ("attic", "cellar"):
        subscription = scene.subscribe(client, room=room)
        others.append(subscription)
    client.hold()
    client.release()
    rooms = []
    while client.asked:
        (asked,) = client.asked
        rooms.append(asked.params.room)
        client.asked.clear()
        page = {"events": [], "complete": True, "seq": 0, "reset": False}
        asked.got(Decision(Subscribed(page, "member", True)))
    assert rooms == [ROOM, "attic", "cellar"]
    assert all(subscription.is_live for subscription in client.subscriptions)


def test_catching_up_is_never_too_slow_a_reader(scene: Scene, store: Store) -> None:
    client = Client(scene, "ada")
    client.outbox = type(client.outbox)(client, scene.turn, 10, client._overflow)
    client.subscribe(None, None)
    answer(store, client)
    scene.loop.run()
    client.hold()
    for _ in range(Store.page_max + 1):
        scene.happen()
    client.release()
    client.stuck()
    answer(store, client)
    assert client.overflows == 0
    client.drained()
    answer(store, client)
    scene.loop.run()
    assert client.told[-1] == {"event": 5}


def test_events_that_waited_are_taken_back_and_answers_are_not(scene: Scene, store: Store) -> None:
    client = subscribed(scene, store)
    client.stuck()
    scene.happen()
    scene.loop.run()
    client.outbox.put(line(answer=None, live=False))
    scene.happen()
    scene.loop.run()
    client.hold()
    client.drained()
    assert client.told == [{"answer": None, "live": False}]
    client.release()
    answer(store, client)
    assert told_after_a_turn(scene, client)[1:] == [{"event": 1}, {"event": 2}]


def test_what_followed_an_answer_from_memory_is_taken_back_too(scene: Scene, store: Store) -> None:
    scene.subscribed("ben")
    client = Client(scene, "ada")
    client.subscribe(0, None)
    scene.happen()
    scene.happen()
    client.stuck()
    answer(store, client, head=1)
    client.hold()
    client.drained()
    assert client.told == [live_reply([1], 1)]
    client.release()
    answer(store, client)
    assert told_after_a_turn(scene, client)[1:] == [{"event": 2}]


def test_one_that_is_held_again_before_it_has_caught_up_starts_anew_from_what_it_was_told(
    scene: Scene, store: Store
) -> None:
    client = subscribed(scene, store)
    client.hold()
    scene.happen()
    client.release()
    client.hold()
    client.release()
    while client.asked:
        answer(store, client)
    assert told_after_a_turn(scene, client) == [{"event": 1}]
    assert client.subscriptions[0].is_live
    scene.happen()
    assert told_after_a_turn(scene, client) == [{"event": 1}, {"event": 2}]


def test_a_store_that_is_behind_what_was_told_is_asked_again_later(scene: Scene, store: Store) -> None:
    client = subscribed(scene, store)
    scene.happen()
    scene.loop.run()
    client.hold()
    client.release()
    answer(store, client, head=0)
    assert (told_after_a_turn(scene, client), len(client.stranded_in)) == ([{"event": 1}], 1)
    client.try_again()
    answer(store, client)
    scene.happen()
    assert told_after_a_turn(scene, client) == [{"event": 1}, {"event": 2}]


# --- Everything at random ---------------------------------------------------------------------------------------------


class World:
    """A log that grows, a bus that does as it likes, reads that are old or new, and clients that come and go.

    Every step takes its choices from `random`, which Hypothesis shrinks.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.scene = Scene()
        self.scene.logs.page_max = 3
        self.store = Store(self.scene)
        self.clients = [Client(self.scene, subject) for subject in ("ada", "ben", "ada")]

    @property
    def client(self) -> Client:
        return self.random.choice(self.clients)

    @property
    def head(self) -> int:
        return self.scene.logs.head()

    # --- the log, and the bus ---

    def somebody_speaks(self) -> None:
        self._add("message.created", {})

    def somebody_changes(self) -> None:
        kind = self.random.choice(["member.joined", "member.left", "member.removed", "member.role_changed"])
        subject = self.random.choice(["ada", "ben", "cy"])
        data: dict[str, Any] = {"member": {"subject": subject, "role": self.random.choice(["member", "owner"])}}
        if kind == "member.removed":
            data["banned"] = self.random.random() < 0.3
        was_member = self.store.role(subject, self.head)[0] is not None
        if was_member == (kind != "member.joined") or data.get("banned"):
            self._add(kind, data)

    def the_room_changes(self) -> None:
        self._add("room.updated", {"room": {"visibility": self.random.choice(["public", "public", "private"])}})

    def _add(self, kind: str, data: dict[str, Any]) -> None:
        event = self.scene.logs.add(kind, data)
        if self.random.random() < 0.7:
            self.scene.hub.publish([event])

    def the_bus_brings_something_again(self) -> None:
        if self.head:
            first = self.random.randint(max(1, self.head - 5), self.head)
            self.scene.hub.publish(self.scene.logs.events[ROOM][first - 1 : self.random.randint(first, self.head)])

    def the_poll_looks(self) -> None:
        self.scene.poll()

    def what_was_missed_is_read(self) -> None:
        if self.scene.logs.asked and self.random.random() < 0.1:
            self.scene.logs.fail()
        elif self.scene.logs.asked:
            self.scene.logs.answer(as_of=self._recently())

    def _recently(self) -> int:
        """A head of the log, now or a little ago."""
        return max(0, self.head - self.random.choice([0, 0, 0, 1, 2, 3]))

    # --- the clients ---

    def a_client_subscribes(self) -> None:
        client = self.client
        if all(asked.follows for asked in client.asked):  # one at a time: its connection keeps the order
            after = self.random.choice([None, 0, self.head, max(0, self.head - 1), self.head + 1])
            client.subscribe(after, self.random.choice([None, None, None, EPOCH, "another"]))

    def a_client_is_answered(self) -> None:
        client = self.client
        if not client.asked:
            return
        which = self.random.randrange(len(client.asked))
        if self.random.random() < 0.05:
            client.asked.pop(which).got(Refusal("unavailable"))
        else:
            self.store.answer(client, which, self._recently())

    def a_client_unsubscribes(self) -> None:
        client = self.client
        if all(asked.follows for asked in client.asked):
            client.unsubscribe()

    def a_token_expires(self) -> None:
        self.client.hold()

    def a_token_is_renewed(self) -> None:
        self.client.release()

    def a_stranded_client_tries_again(self) -> None:
        self.client.try_again()

    def a_socket_stops_draining(self) -> None:
        self.client.stuck()

    def a_socket_drains_again(self) -> None:
        self.client.drained()

    def the_loop_turns(self) -> None:
        self.scene.loop.turn()

    def step(self) -> None:
        steps, weights = zip(*STEPS.items(), strict=True)
        self.random.choices(steps, weights)[0](self)
        for client in self.clients:
            place_of(client)

    def come_to_rest(self) -> None:
        """Let everything that is under way arrive."""
        for client in self.clients:
            client.release()
        for _ in range(50):
            for client in self.clients:
                client.try_again()
                while client.asked:
                    self.store.answer(client, 0, self.head)
                client.drained()
            self.scene.poll()
            self.scene.logs.answer_all()
            self.scene.loop.run()


STEPS = {
    World.somebody_speaks: 6,
    World.somebody_changes: 1,
    World.the_room_changes: 0.3,
    World.the_bus_brings_something_again: 2,
    World.the_poll_looks: 1,
    World.what_was_missed_is_read: 3,
    World.a_client_subscribes: 2,
    World.a_client_is_answered: 6,
    World.a_client_unsubscribes: 0.5,
    World.a_token_expires: 1,
    World.a_token_is_renewed: 1.5,
    World.a_stranded_client_tries_again: 1,
    World.a_socket_stops_draining: 1,
    World.a_socket_drains_again: 1.5,
    World.the_loop_turns: 4,
}


def place_of(client: Client) -> int | None:
    """Walk what the client was told: no gap, no repeat, nothing after an end. The last seq, where it is live."""
    at: int | None = None
    for told in client.told:
        if "event" in told:
            assert at is not None, "an event without a subscription"
            assert told["event"] == at + 1
            at += 1
        elif "answer" in told:
            reply = told["answer"]
            if reply["events"]:
                assert reply["events"] == list(range(reply["events"][0], reply["seq"] + 1))
            at = reply["seq"] if told["live"] else None
        elif "ended" in told or "refused" in told:
            at = None
    return at


@settings(derandomize=True, max_examples=1000, deadline=None)
@given(st.randoms(use_true_random=True), st.integers(20, 120))
def test_a_reader_is_told_the_log_once_and_in_order_whatever_overtakes_what(random: Random, steps: int) -> None:
    world = World(random)
    for _ in range(steps):
        world.step()
    world.come_to_rest()
    for client in world.clients:
        assert not client.asked
        assert place_of(client) == (None if client.live is None else world.head)
        if client.live is not None:
            assert world.store.may_read(client.subject, world.head), "one that may not read is still subscribed"
            assert client.live.role == world.store.role(client.subject, world.head)[0]
        client.close()
    assert world.scene.hub.rooms == {}
