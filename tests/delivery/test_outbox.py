"""One socket's queue and the turn that flushes them all."""

import pytest

from parley.delivery.outbox import SMALL_BYTES, Outbox, Turn
from tests.delivery.scene import Lines, Loop, Recorder


class Desk:
    def __init__(self) -> None:
        self.loop = Loop()
        self.due: list[str] = []
        self.order: list[str] = []
        self.turn = Turn(self.loop.call_soon, lambda: self.order.append("due"))

    def socket(self, bytes_max: int = 0) -> Recorder:
        return Recorder(self.turn, Lines(), bytes_max=bytes_max)


@pytest.fixture
def desk() -> Desk:
    return Desk()


class Flushed:
    def __init__(self, desk: Desk, name: str) -> None:
        self.desk = desk
        self.name = name

    def flush(self) -> None:
        self.desk.order.append(self.name)


def test_frames_of_one_turn_go_out_in_one_write_and_in_order(desk: Desk) -> None:
    socket = desk.socket()
    for frame in (b"one ", b"two ", b"three"):
        socket.outbox.put(frame)
    assert socket.writes == []
    desk.loop.turn()
    assert socket.writes == [b"one two three"]


def test_one_frame_is_handed_on_as_it_is(desk: Desk) -> None:
    socket = desk.socket()
    frame = b"alone"
    socket.outbox.put(frame)
    desk.loop.turn()
    assert socket.writes[0] is frame


def test_outboxes_go_before_rooms_and_what_is_due_before_both(desk: Desk) -> None:
    desk.turn.mark_room(Flushed(desk, "room"))
    desk.turn.mark(Flushed(desk, "outbox"))
    desk.loop.turn()
    assert desk.order == ["due", "outbox", "room"]


def test_what_is_marked_during_a_flush_is_flushed_in_the_next_turn(desk: Desk) -> None:
    socket = desk.socket()

    class Answering(Flushed):
        def flush(self) -> None:
            super().flush()
            socket.outbox.put(b"late")

    desk.turn.mark(Answering(desk, "outbox"))
    desk.loop.turn()
    assert socket.writes == []
    desk.loop.turn()
    assert socket.writes == [b"late"]


def test_what_is_due_may_put_something_in_this_very_turn() -> None:
    loop = Loop()
    said = [b"expiring"]
    turn = Turn(loop.call_soon, lambda: said and other.outbox.put(said.pop()))
    socket, other = Recorder(turn, Lines()), Recorder(turn, Lines())
    socket.outbox.put(b"frame")
    loop.turn()
    assert (socket.writes, other.writes) == ([b"frame"], [b"expiring"])


def test_a_turn_is_asked_for_once(desk: Desk) -> None:
    for _ in range(3):
        desk.socket().outbox.put(b"x")
    assert desk.loop.turn() == 1
    assert desk.loop.turn() == 0


@pytest.mark.parametrize("bug", [RuntimeError("gone"), OSError("gone"), ValueError("a bug")])
def test_a_socket_that_raises_keeps_nobody_elses_frames(desk: Desk, bug: Exception) -> None:
    broken, sound = desk.socket(), desk.socket()
    broken.fails_with = bug
    for socket in (broken, sound):
        socket.outbox.put(b"x")
    desk.loop.turn()
    assert sound.writes == [b"x"]


def test_a_fault_in_what_is_due_stops_no_later_turn(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()

    def fail() -> None:
        raise ValueError("a bug")

    turn = Turn(loop.call_soon, fail)
    socket = Recorder(turn, Lines())
    for frame in (b"1", b"2"):
        socket.outbox.put(frame)
        loop.turn()
    assert socket.writes == [b"1", b"2"]
    assert "had come due" in caplog.text


# --- Congestion -------------------------------------------------------------------------------------------------------


def test_what_a_congested_socket_is_told_waits_in_order_and_goes_out_when_it_drains(desk: Desk) -> None:
    socket = desk.socket()
    socket.outbox.put(b"1")
    socket.stuck()
    socket.outbox.put(b"2")
    desk.loop.run()
    socket.outbox.put(b"3")
    desk.loop.run()
    assert socket.writes == []
    socket.drained()
    assert socket.writes == [b"123"]
    socket.outbox.put(b"4")
    desk.loop.run()
    assert socket.writes == [b"123", b"4"]


def test_a_socket_that_stops_again_while_it_drains_keeps_the_rest(desk: Desk) -> None:
    socket = desk.socket()
    socket.stuck()
    socket.outbox.put(b"1")
    socket.on_write = socket.stuck
    socket.drained()
    socket.outbox.put(b"2")
    desk.loop.run()
    assert socket.writes == [b"1"]
    assert socket.outbox.congested


def test_over_the_limit_the_reader_is_told_so_once_and_nothing_is_kept(desk: Desk) -> None:
    socket = desk.socket(bytes_max=100)
    socket.stuck()
    socket.unsent_bytes = 60
    socket.outbox.put(b"x" * 40)
    assert socket.overflows == 0
    socket.outbox.put(b"x")
    assert socket.overflows == 1
    assert "0 frames, 0 bytes" in repr(socket.outbox)
    socket.drained()
    assert socket.writes == []


def test_a_socket_that_drains_is_never_too_slow_however_much_it_is_told(desk: Desk) -> None:
    socket = desk.socket(bytes_max=100)
    socket.outbox.put(b"x" * 1000)
    desk.loop.run()
    assert (socket.overflows, len(socket.writes)) == (0, 1)


def test_a_limit_of_nothing_is_no_limit(desk: Desk) -> None:
    socket = desk.socket(bytes_max=0)
    socket.stuck()
    for _ in range(100):
        socket.outbox.put(b"x" * 1000)
    assert socket.overflows == 0


def test_a_large_answer_is_not_held_against_its_reader(desk: Desk) -> None:
    socket = desk.socket(bytes_max=1000)
    socket.on_write = lambda: (socket.stuck(), setattr(socket, "unsent_bytes", SMALL_BYTES * 4))[0]
    socket.outbox.put_answer(b"x" * SMALL_BYTES * 4)
    desk.loop.run()
    socket.outbox.put(b"event" * 200)
    assert socket.overflows == 0
    socket.outbox.put(b"e")
    assert socket.overflows == 1


def test_small_answers_count_as_everything_else(desk: Desk) -> None:
    socket = desk.socket(bytes_max=1000)
    socket.stuck()
    socket.outbox.put_answer(b"x" * 600)
    socket.outbox.put_answer(b"x" * 600)
    assert socket.overflows == 1


def test_what_was_asked_for_is_forgotten_once_it_is_out(desk: Desk) -> None:
    socket = desk.socket(bytes_max=1000)
    socket.outbox.put_answer(b"x" * SMALL_BYTES * 2)
    desk.loop.run()  # out at once
    socket.stuck()
    socket.outbox.put(b"x" * 1001)
    assert socket.overflows == 1

    waits = desk.socket(bytes_max=1000)
    waits.stuck()
    waits.outbox.put_answer(b"x" * SMALL_BYTES * 2)
    waits.on_write = waits.stuck
    waits.drained()  # handed over, not out yet
    waits.unsent_bytes = SMALL_BYTES * 2
    waits.outbox.put(b"x" * 1000)
    assert waits.overflows == 0
    waits.drained()  # the answer is out, what waited behind it is not
    waits.unsent_bytes = 1000
    waits.outbox.put(b"x" * 1001)
    assert waits.overflows == 1


def test_an_outbox_says_what_waits_in_it(desk: Desk) -> None:
    socket = desk.socket()
    socket.stuck()
    socket.outbox.put(b"secret")
    assert repr(socket.outbox) == "<Outbox 1 frames, 6 bytes, congested>"
    assert isinstance(socket.outbox, Outbox)
