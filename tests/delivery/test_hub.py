"""One event to many sockets: exactly once, in order, whatever the bus does and whoever goes meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.delivery.readers import Subscription
from parley.delivery.room import HEARD_MAX
from parley.delivery.writing import SLICE
from parley.domain.events import Signal
from parley.domain.rooms import MemberView
from tests.delivery.scene import ROOM, Lines, Recorder, Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()


def events(*seqs: int) -> list[str]:
    return [f"#{seq}" for seq in seqs]


# --- Out --------------------------------------------------------------------------------------------------------------


def test_an_event_reaches_every_subscriber_of_its_room_and_nobody_else(scene: Scene) -> None:
    ada, ben = scene.subscribed("ada"), scene.subscribed("ben")
    elsewhere = scene.subscribed("cy", room="attic")
    scene.happen()
    scene.loop.run()
    assert (ada.lines, ben.lines, elsewhere.lines) == (events(1), events(1), [])


def test_events_of_one_turn_go_out_in_one_write(scene: Scene) -> None:
    ada = scene.subscribed()
    for _ in range(3):
        scene.happen()
    scene.loop.turn()
    assert ada.writes == [b"#1\n#2\n#3\n"]


def test_an_event_is_encoded_once_for_each_encoder_and_the_same_bytes_go_to_all(scene: Scene) -> None:
    plain, other = Lines(), Lines("other")
    readers = [scene.subscribed(f"p{n}", encoder=plain) for n in range(50)]
    others = [scene.subscribed(f"o{n}", encoder=other) for n in range(50)]
    scene.happen()
    scene.loop.run()
    assert plain.encoded == other.encoded == [1]
    assert len({id(reader.writes[0]) for reader in readers}) == 1
    assert {reader.writes[0] for reader in others} == {b"other#1\n"}


def test_nothing_is_encoded_for_a_room_that_nobody_reads(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.hub.unsubscribe(ada.subscriptions[0])
    scene.happen()
    scene.loop.run()
    assert scene.lines.encoded == []
    assert scene.hub.rooms == {}


def test_a_signal_takes_its_place_among_the_events(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.happen()
    scene.hub.signal(Signal(ROOM, "typing.changed", "now", {}))
    scene.happen()
    scene.hub.signal(Signal("attic", "typing.changed", "now", {}))
    scene.loop.run()
    assert ada.lines == ["#1", "~typing.changed", "#2"]


@pytest.mark.parametrize("bug", [RuntimeError("the handler is closed"), BrokenPipeError(), ValueError("a bug")])
def test_a_socket_that_raises_in_the_middle_of_a_fan_out_harms_nobody_else(scene: Scene, bug: Exception) -> None:
    readers = [scene.subscribed(f"r{n}") for n in range(5)]
    readers[0].fails_with = readers[2].fails_with = readers[4].fails_with = bug
    scene.happen()
    scene.loop.run()
    assert [reader.lines for reader in readers] == [[], events(1), [], events(1), []]


def test_a_large_round_is_cut_into_slices_so_that_the_loop_can_breathe(scene: Scene) -> None:
    readers = [scene.subscribed(f"r{n}") for n in range(SLICE * 2 + 10)]
    scene.happen()
    scene.loop.turn()
    assert sum(len(reader.writes) for reader in readers) == SLICE
    scene.loop.turn()
    assert sum(len(reader.writes) for reader in readers) == SLICE * 2
    scene.loop.turn()
    assert all(reader.lines == events(1) for reader in readers)
    assert scene.loop.turn() == 0


def test_the_next_event_waits_for_the_slices_of_the_one_before(scene: Scene) -> None:
    readers = [scene.subscribed(f"r{n}") for n in range(SLICE * 3)]
    scene.happen()
    scene.loop.turn()
    scene.happen()
    scene.loop.run()
    assert all(reader.lines == events(1, 2) for reader in readers)


def test_whoever_unsubscribes_between_two_slices_has_got_everything_before(scene: Scene) -> None:
    readers = [scene.subscribed(f"r{n}") for n in range(SLICE + 1)]
    scene.happen()
    scene.loop.turn()
    assert readers[-1].lines == []
    scene.hub.unsubscribe(readers[-1].subscriptions[0])
    assert readers[-1].lines == events(1)
    scene.loop.run()
    assert readers[-1].lines == events(1)


def test_whoever_is_held_between_two_slices_gets_none_of_what_is_left_over(scene: Scene) -> None:
    readers = [scene.subscribed(f"r{n}") for n in range(SLICE + 2)]
    held = readers[-1].subscriptions[0]
    scene.happen()
    scene.loop.run()
    scene.happen()
    scene.loop.turn()
    scene.hub.hold(held)
    scene.loop.run()
    assert (readers[-1].lines, held.told) == (events(1), 1)
    assert readers[-2].lines == events(1, 2)


# --- In: the bus loses, repeats, reorders -----------------------------------------------------------------------------


def test_what_came_too_early_waits_for_what_was_missed(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.logs.add()
    scene.hub.publish([scene.logs.add()])
    scene.loop.run()
    assert ada.lines == []
    scene.logs.answer()
    scene.loop.run()
    assert ada.lines == events(1, 2)


def test_the_last_event_lost_is_found_by_the_poll(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.logs.add()
    scene.poll()
    scene.logs.answer()
    scene.loop.run()
    assert ada.lines == events(1)


def test_a_gap_is_read_but_once_however_much_comes_behind_it(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.logs.add()
    for _ in range(10):
        scene.happen()
        scene.poll()
    assert scene.logs.reads == 1
    scene.logs.answer_all()
    scene.loop.run()
    assert ada.lines == events(*range(1, 12))


def test_a_long_gap_is_read_page_by_page(scene: Scene) -> None:
    scene.logs.page_max = 3
    ada = scene.subscribed()
    for _ in range(10):
        scene.logs.add()
    scene.poll()
    scene.logs.answer_all()
    scene.loop.run()
    assert ada.lines == events(*range(1, 11))


def test_a_store_that_is_away_is_asked_again_by_the_next_poll(scene: Scene) -> None:
    ada = scene.subscribed()
    scene.logs.add()
    scene.poll()
    scene.logs.fail()
    scene.loop.run()
    assert not scene.logs.asked
    scene.poll()
    scene.logs.answer()
    scene.loop.run()
    assert ada.lines == events(1)


def test_a_poll_that_is_behind_the_bus_reads_nothing(scene: Scene) -> None:
    scene.subscribed()
    heads = {ROOM: 1}
    scene.happen()
    scene.happen()
    scene.hub.moved(heads)
    scene.hub.moved({"attic": 7})
    assert scene.logs.reads == 0


def test_the_poll_asks_with_the_heads_of_the_rooms_that_are_read_here(scene: Scene) -> None:
    scene.subscribed("ada")
    scene.subscribed("ada", room="attic")
    scene.happen()
    scene.hub.begin("cellar", scene.reader("ben"))  # not read yet: nothing to ask with
    assert scene.hub.heads() == {ROOM: 1, "attic": 0}


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.data())
def test_every_event_arrives_once_and_in_order_whatever_the_bus_does(data: st.DataObject) -> None:
    scene = Scene()
    scene.logs.page_max = 4
    readers = [scene.subscribed(f"r{n}", encoder=Lines(str(n % 2))) for n in range(4)]
    for _ in range(data.draw(st.integers(5, 60))):
        match data.draw(st.sampled_from(["grow", "bus", "bus", "poll", "answer", "fail", "turn", "congest", "drain"])):
            case "grow":
                scene.logs.add()
            case "bus" if scene.logs.head():
                seqs = data.draw(st.lists(st.integers(1, scene.logs.head()), min_size=1, max_size=6))
                scene.hub.publish([scene.logs.events[ROOM][seq - 1] for seq in seqs])
            case "poll":
                scene.poll()
            case "answer" if scene.logs.asked:
                scene.logs.answer(as_of=data.draw(st.integers(0, scene.logs.head())))
            case "fail" if scene.logs.asked:
                scene.logs.fail()
            case "turn":
                scene.loop.turn()
            case "congest":
                readers[data.draw(st.integers(0, 3))].stuck()
            case "drain":
                readers[data.draw(st.integers(0, 3))].drained()
    while scene.logs.asked or scene.hub.heads()[ROOM] < scene.logs.head():
        scene.poll()
        scene.logs.answer_all()
    scene.loop.run()
    for reader in readers:
        reader.drained()
    for n, reader in enumerate(readers):
        assert reader.lines == [f"{n % 2}#{seq}" for seq in range(1, scene.logs.head() + 1)]


# --- Congestion -------------------------------------------------------------------------------------------------------


def test_what_a_congested_reader_hears_waits_in_its_outbox_and_nobody_waits_for_it(scene: Scene) -> None:
    slow, quick = scene.subscribed("slow"), scene.subscribed("quick")
    slow.stuck()
    for _ in range(3):
        scene.happen()
        scene.loop.run()
    assert (slow.lines, quick.lines) == ([], events(1, 2, 3))
    slow.drained()
    scene.happen()
    scene.loop.run()
    assert slow.lines == events(1, 2, 3, 4)


def test_a_reader_that_overflows_in_the_middle_of_a_fan_out_ends_alone(scene: Scene) -> None:
    # The only one of its group, so that its group ends with it.
    for encoder in (scene.lines, Lines("own")):
        before, after = scene.subscribed("before"), None
        slow = scene.subscribed("slow", encoder=encoder, bytes_max=4)
        after = scene.subscribed("after", encoder=Lines())
        elsewhere = scene.subscribed("slow", room="attic", reader=slow)
        slow.on_overflow = lambda slow=slow: [scene.hub.unsubscribe(s) for s in slow.subscriptions]
        slow.stuck()
        seqs = [event.seq for _ in range(4) for event in scene.happen()]
        scene.loop.run()
        assert (slow.overflows, slow.lines) == (1, [])
        assert before.lines == after.lines == events(*seqs)
        assert elsewhere is slow
        assert "attic" not in scene.hub.rooms
        for reader in (before, after):
            scene.hub.unsubscribe(reader.subscriptions[0])


def test_a_reader_that_stops_draining_while_it_is_written_to_gets_the_rest_later_in_order(scene: Scene) -> None:
    ada = scene.subscribed()
    ada.on_write = ada.stuck
    scene.happen()
    scene.loop.run()
    scene.happen()
    scene.loop.run()
    assert ada.lines == events(1)
    ada.on_write = lambda: None
    ada.drained()
    assert ada.lines == events(1, 2)


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
