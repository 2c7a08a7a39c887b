"""Who reads which room: they come and go while events do, and lose what they may not read any more."""

from collections.abc import Callable
from typing import Any

import pytest

from parley.delivery.readers import Subscription
from parley.delivery.room import HEARD_MAX
from parley.domain.events import Signal
from parley.domain.rooms import MemberView
from tests.delivery.scene import ROOM, Recorder, Scene, events

# --- Coming and going -------------------------------------------------------------------------------------------------


def test_unsubscribing_writes_what_is_pending_first_and_nothing_after(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.happen()
    scene.hub.unsubscribe(ada.subscriptions[0])
    scene.happen()
    scene.loop.run()
    assert ada.lines == events(1)


def test_unsubscribing_twice_ends_it_once(scene: Scene) -> None:
    ada = scene.subscribed()
    left: list[Subscription] = []
    scene.hub.left = left.append
    for _ in range(2):
        scene.hub.unsubscribe(ada.subscriptions[0])
    assert left == ada.subscriptions


def test_a_newcomer_hears_nothing_from_before_its_place_in_the_log(scene: Scene) -> None:
    ada = scene.subscribed("ada")
    scene.happen()
    ben = scene.subscribed("ben")  # in the same turn, before #1 was flushed
    scene.happen()
    scene.loop.run()
    assert (ada.lines, ben.lines) == (events(1, 2), events(2))


def test_an_answer_in_the_outbox_goes_before_the_events_behind_it_whoever_comes_meanwhile(scene: Scene) -> None:
    ada = scene.subscribed("ada")
    ada.outbox.put(b"subscribed\n")
    scene.happen()
    scene.subscribed("ben")  # settles the room before the turn ends
    scene.loop.run()
    assert ada.lines == ["subscribed", "#1"]


def test_what_is_due_takes_effect_before_anything_is_settled(scene: Scene) -> None:
    ada, ben = scene.subscribed("ada"), scene.subscribed("ben")

    def end_ada() -> None:
        scene.due = lambda: None
        scene.hub.end(ROOM, "ada", "expired", made_before_s=float("inf"))

    scene.happen()
    scene.due = end_ada
    scene.hub.unsubscribe(ben.subscriptions[0])
    scene.loop.run()
    assert ada.ended == [(ROOM, "expired")]
    assert scene.hub.rooms == {}


def test_a_second_subscription_of_a_reader_replaces_its_first(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.happen()
    scene.subscribe(ada)
    scene.happen()
    scene.loop.run()
    assert ada.lines == events(1, 2)
    assert len(scene.hub.rooms[ROOM].subscribers) == 1


def test_of_two_subscriptions_on_their_way_at_once_one_is_left(scene: Scene) -> None:
    ada = scene.reader()
    joinings = [scene.hub.begin(ROOM, ada) for _ in range(2)]
    for joining in joinings:
        scene.hub.finish(joining, Subscription(ada, ROOM, "member"), 0, public=True)
    scene.happen()
    scene.loop.run()
    assert ada.lines == events(1)


def test_one_that_read_further_than_the_room_has_heard_waits_for_its_place(scene: Scene) -> None:
    ada = scene.subscribed("ada")
    first = scene.logs.add()
    second = scene.logs.add()
    ben = scene.subscribed("ben")  # the store told it both, the bus neither
    scene.hub.publish([first])
    scene.loop.run()
    scene.hub.publish([second])
    scene.happen()
    scene.loop.run()
    assert (ada.lines, ben.lines) == (events(1, 2, 3), events(3))


def test_one_that_waited_hears_signals_as_soon_as_the_room_is_there(scene: Scene) -> None:
    scene.subscribed("ada")
    event = scene.logs.add()
    ben = scene.subscribed("ben")
    scene.hub.publish([event])
    scene.hub.signal(Signal(ROOM, "typing.changed", "now", {}))
    scene.loop.run()
    assert ben.lines == ["~typing.changed"]


def test_those_that_wait_are_let_in_each_at_its_own_place(scene: Scene) -> None:
    scene.subscribed("ada")
    first = scene.logs.add()
    ben = scene.subscribed("ben")
    second = scene.logs.add()
    cy = scene.subscribed("cy")
    scene.hub.publish([first, second])
    scene.happen()
    scene.loop.run()
    assert (ben.lines, cy.lines) == (events(2, 3), events(3))


def test_one_that_waits_can_go_again(scene: Scene) -> None:
    scene.subscribed("ada")
    scene.logs.add()
    ben = scene.subscribed("ben")
    scene.hub.unsubscribe(ben.subscriptions[0])
    scene.poll()
    scene.logs.answer_all()
    scene.happen()
    scene.loop.run()
    assert ben.lines == []


def test_what_was_heard_before_the_first_read_is_not_lost(scene: Scene) -> None:
    ada = scene.reader()
    joining = scene.hub.begin(ROOM, ada)
    scene.happen()
    scene.happen()
    onward = scene.hub.finish(joining, Subscription(ada, ROOM, "member"), 1, public=True)
    assert onward is not None
    assert [event.seq for event in onward] == [2]
    assert scene.hub.heads() == {ROOM: 2}


def test_a_subscription_that_missed_something_reads_anew_whatever_else_it_heard(scene: Scene) -> None:
    scene.subscribed("ada")
    scene.happen()
    joining = scene.hub.begin(ROOM, scene.reader("ben"))
    scene.logs.add()
    scene.happen()  # too early: the room is still at 1
    subscription = Subscription(scene.reader("ben"), ROOM, "member")
    assert scene.hub.finish(joining, subscription, 0, public=True) is None


def test_what_a_subscription_on_its_way_hears_has_a_bound(scene: Scene) -> None:
    scene.subscribed("ada")
    ben = scene.reader("ben")
    joining = scene.hub.begin(ROOM, ben)
    for _ in range(HEARD_MAX + 5):
        scene.happen()
    assert len(joining.heard) == HEARD_MAX
    subscription = Subscription(ben, ROOM, "member")
    assert scene.hub.finish(joining, subscription, 0, public=True) is None
    onward = scene.hub.finish(joining, subscription, 5, public=True)
    assert onward is not None
    assert [event.seq for event in onward] == list(range(6, HEARD_MAX + 6))


def test_a_room_is_forgotten_with_its_last_reader(scene: Scene) -> None:
    ada = scene.subscribed("ada")
    joining = scene.hub.begin(ROOM, scene.reader("ben"))
    scene.hub.unsubscribe(ada.subscriptions[0])
    assert ROOM in scene.hub.rooms
    scene.hub.cancel(joining)
    scene.hub.cancel(joining)
    assert scene.hub.rooms == {}


# --- What ends a subscription -----------------------------------------------------------------------------------------


def removed(scene: Scene) -> None:
    scene.happen_to("member.removed", "ada", banned=False)


def banned(scene: Scene) -> None:
    scene.happen_to("member.removed", "ada", banned=True)


def left(scene: Scene) -> None:
    scene.happen_to("member.left", "ada")


def made_private(scene: Scene) -> None:
    scene.hub.publish([scene.logs.add("room.updated", {"room": {"visibility": "private"}})])


def evicted(scene: Scene) -> None:
    scene.loop.now_s += 1
    scene.hub.end(ROOM, "ada", "removed", made_before_s=scene.loop.now_s)


ENDINGS = [
    (removed, "member", True, "removed"),
    (removed, "member", False, "removed"),
    (removed, None, True, "removed"),
    (banned, "member", True, "banned"),
    (banned, "member", False, "banned"),
    (left, "member", False, "left"),
    (made_private, None, True, "forbidden"),
    (evicted, None, True, "removed"),
]


@pytest.mark.parametrize(("happens", "role", "public", "reason"), ENDINGS)
def test_a_subscription_ends_with_its_reason_and_nothing_later_reaches_it(
    scene: Scene, happens: Callable[[Scene], None], role: str | None, public: bool, reason: str
) -> None:
    ben = scene.subscribed("ben", public=public)
    ada = scene.subscribed("ada", role=role, public=public)
    second = scene.subscribed("ada", role=role, public=public)
    scene.happen()
    happens(scene)
    scene.happen()
    scene.loop.run()
    assert ada.lines == second.lines == ["#1", f"ended {reason}"]
    assert ada.ended == [(ROOM, reason)]
    assert ben.lines == events(*range(1, scene.logs.head() + 1))
    assert list(scene.hub.rooms[ROOM].subscribers) == [ben]


@pytest.mark.parametrize(("happens", "role", "public", "reason"), ENDINGS)
def test_a_congested_subscriber_gets_nothing_behind_its_ending_either(
    scene: Scene, happens: Callable[[Scene], None], role: str | None, public: bool, reason: str
) -> None:
    ada = scene.subscribed("ada", role=role, public=public)
    ada.stuck()
    scene.happen()
    happens(scene)
    scene.happen()
    scene.loop.run()
    ada.drained()
    assert ada.lines == ["#1", f"ended {reason}"]


@pytest.mark.parametrize(("happens", "role", "public", "reason"), ENDINGS)
def test_a_room_whose_last_reader_is_ended_is_forgotten(
    scene: Scene, happens: Callable[[Scene], None], role: str | None, public: bool, reason: str
) -> None:
    scene.subscribed("ada", role=role, public=public)
    happens(scene)
    assert scene.hub.rooms == {}


@pytest.mark.parametrize("happens", [left, made_private])
def test_who_may_read_on_reads_on(scene: Scene, happens: Callable[[Scene], None]) -> None:
    admin = scene.subscribed("root", role=None, admin=True)
    member = scene.subscribed("ben")
    ada = scene.subscribed("ada", role=None if happens is left else "member")
    happens(scene)
    scene.happen()
    scene.loop.run()
    assert admin.lines == member.lines == ada.lines == events(1, 2)


def test_an_admin_who_leaves_a_private_room_reads_on_and_an_admin_removed_does_not(scene: Scene) -> None:
    admin = scene.subscribed("ada", admin=True, public=False)
    left(scene)
    scene.loop.run()
    assert (admin.lines, admin.ended) == (events(1), [])
    removed(scene)
    assert admin.ended == [(ROOM, "removed")]


def test_who_left_a_public_room_is_a_stranger_when_it_turns_private(scene: Scene) -> None:
    ada = scene.subscribed("ada")
    scene.subscribed("ben")
    left(scene)
    made_private(scene)
    scene.loop.run()
    assert ada.lines == ["#1", "ended forbidden"]


def test_who_joined_a_public_room_stays_when_it_turns_private(scene: Scene) -> None:
    ada = scene.subscribed("ada", role=None)
    scene.happen_to("member.joined", "ada", "owner")
    made_private(scene)
    scene.loop.run()
    assert (ada.lines, ada.subscriptions[0].role) == (events(1, 2), "owner")


def test_an_ending_from_before_a_subscription_does_not_end_it(scene: Scene) -> None:
    scene.subscribed("ben", public=False)
    gone = scene.logs.add("member.removed", {"member": {"subject": "ada", "role": "member"}, "banned": False})
    back = scene.logs.add("member.joined", {"member": {"subject": "ada", "role": "member"}})
    ada = scene.subscribed("ada", public=False)  # the store told it that it is back
    scene.hub.publish([gone, back])
    scene.happen()
    scene.loop.run()
    assert (ada.lines, ada.ended) == (events(3), [])


def test_an_eviction_does_not_end_what_was_subscribed_after_it(scene: Scene) -> None:
    evicted_at_s = scene.loop.now_s + 1
    scene.loop.now_s += 2
    ada = scene.subscribed("ada", role=None)
    scene.hub.end(ROOM, "ada", "removed", made_before_s=evicted_at_s)
    assert ada.ended == []


def test_members_of_events_may_be_views_or_what_the_store_kept_of_them(scene: Scene) -> None:
    ada = scene.subscribed("ada")
    scene.hub.publish(
        [scene.logs.add("member.removed", {"member": MemberView(ROOM, "ada", "Ada", "member", None), "banned": True})]
    )
    assert ada.ended == [(ROOM, "banned")]


def test_others_coming_and_going_breaks_no_write_in_two(scene: Scene) -> None:
    ada = scene.subscribed("ada")
    for kind in ("member.joined", "message.created", "member.left", "member.role_changed"):
        if kind.startswith("member"):
            scene.happen_to(kind, "somebody-else")
        else:
            scene.happen(kind)
    scene.loop.run()
    assert ada.writes == [b"#1\n#2\n#3\n#4\n"]


def test_a_reader_that_closes_while_it_is_told_of_its_end_is_let_go(scene: Scene) -> None:
    class Closing(Recorder):
        def subscription_ended(self, subscription: Subscription, reason: str) -> None:
            super().subscription_ended(subscription, reason)
            for each in self.subscriptions:
                scene.hub.unsubscribe(each)

    ada = Closing(scene.turn, scene.lines, "ada")
    scene.subscribe(ada)
    scene.subscribe(ada, room="attic")
    removed(scene)
    assert scene.hub.rooms == {}


def test_who_came_and_who_left_is_told_once_each(scene: Scene) -> None:
    told: list[Any] = []
    scene.hub.came = lambda s: told.append(("came", s.reader.subject))
    scene.hub.left = lambda s: told.append(("left", s.reader.subject))
    ada = scene.subscribed("ada")
    ben = scene.subscribed("ben", role=None)
    scene.happen_to("member.joined", "ben")
    removed(scene)
    scene.hub.unsubscribe(ada.subscriptions[0])
    scene.hub.unsubscribe(ben.subscriptions[0])
    assert told == [("came", "ada"), ("came", "ben"), ("came", "ben"), ("left", "ada"), ("left", "ben")]


def test_when_a_room_was_last_written_to_is_known_for_its_readers(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.loop.now_s += 5
    scene.happen()
    scene.loop.run()
    assert scene.hub.flushed_at_s(ada.subscriptions[0]) == scene.loop.now_s
    scene.hub.unsubscribe(ada.subscriptions[0])
    assert scene.hub.flushed_at_s(ada.subscriptions[0]) == 0.0
