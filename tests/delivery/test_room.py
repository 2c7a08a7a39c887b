"""One event to many sockets: exactly once and in order, whatever the bus does and whoever does not drain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.delivery.writing import SLICE
from parley.domain.events import Signal
from tests.delivery.scene import ROOM, Lines, Scene, events

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


def test_what_comes_due_between_two_slices_takes_effect_before_the_next(scene: Scene) -> None:
    readers = [scene.subscribed(f"r{n}") for n in range(SLICE + 2)]
    scene.happen()
    scene.loop.turn()
    held = readers[-1]
    scene.due = lambda: scene.hub.hold(held.subscriptions[0])
    scene.loop.run()
    assert readers[-2].lines == events(1)
    assert held.lines == []
    assert held.subscriptions[0].told == 0


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
