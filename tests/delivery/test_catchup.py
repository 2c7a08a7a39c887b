"""Replay and live, joined: whatever overtakes what, a reader is told the log from where it was, once and in order."""

from typing import Any

import pytest

from parley.delivery.catchup import READS_MAX
from parley.delivery.readers import Subscription
from parley.domain.ports import Decision
from parley.domain.replay import Subscribed
from tests.delivery.catching_up import EPOCH, Client, Store, line
from tests.delivery.scene import ROOM, Scene


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
