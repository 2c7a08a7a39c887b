"""Replay and live, joined, under everything that may overtake anything: no gap, no repeat, nothing after an end."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parley.domain.errors import Refusal
from tests.delivery.catching_up import EPOCH, Client, Store
from tests.delivery.scene import ROOM, Scene


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
