"""One connection's commands take effect in the order sent, whatever order they end in."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.service.ordering import READING_MAX, Ordering


class Command:
    """One command of a test: what it asked for, and when it began and was over."""

    def __init__(self, line: "Line", *, writes: bool, lane: str | None, alone: bool, at_once: bool) -> None:
        self.line = line
        self.writes = writes
        self.lane = lane
        self.alone = alone
        self.at_once = at_once
        self.began_at: int | None = None
        self.over_at: int | None = None
        self._over: Callable[[], None] | None = None

    def begin(self, over: Callable[[], None]) -> None:
        assert self.began_at is None, "begun twice"
        assert not self.line.held, "begun while held"
        self.began_at = self.line.tick()
        self._over = over
        if self.at_once:
            self.end()

    def end(self) -> None:
        assert self._over is not None
        self.over_at = self.line.tick()
        self._over()

    def __repr__(self) -> str:
        kind = "write" if self.writes else "read"
        return f"<{kind} {self.lane}{' alone' if self.alone else ''} {self.began_at}-{self.over_at}>"


class Line:
    """An ordering, and a clock that counts what happens."""

    def __init__(self, *, lanes: bool = False) -> None:
        self.lanes = lanes
        self.ordering = Ordering(lanes=lanes)
        self.commands: list[Command] = []
        self.now = 0
        self.held = False

    def tick(self) -> int:
        self.now += 1
        return self.now

    def _run(self, **asked: Any) -> Command:
        at_once = asked.pop("at_once", False)
        command = Command(self, **{"lane": None, "alone": False, **asked}, at_once=at_once)
        self.commands.append(command)
        self.ordering.run(command.begin, writes=command.writes, lane=command.lane, alone=command.alone)
        return command

    def write(self, lane: str | None = None, **asked: Any) -> Command:
        return self._run(writes=True, lane=lane, **asked)

    def read(self, lane: str | None = None, **asked: Any) -> Command:
        return self._run(writes=False, lane=lane, **asked)

    def hold(self) -> None:
        self.held = True
        self.ordering.hold()

    def release(self) -> None:
        self.held = False
        self.ordering.release()

    @property
    def running(self) -> list[Command]:
        return [c for c in self.commands if c.began_at is not None and c.over_at is None]


def begun(*commands: Command) -> list[bool]:
    return [command.began_at is not None for command in commands]


def test_writes_follow_each_other_into_the_store_without_waiting() -> None:
    line = Line()
    assert begun(line.write("a"), line.write("b"), line.write()) == [True, True, True]


def test_where_rooms_have_writers_of_their_own_only_one_rooms_writes_do() -> None:
    line = Line(lanes=True)
    first, same, other = line.write("a"), line.write("a"), line.write("b")
    assert begun(first, same, other) == [True, True, False]
    first.end()
    assert begun(other) == [False]
    same.end()
    assert begun(other) == [True]


def test_where_rooms_have_writers_of_their_own_a_write_about_no_room_waits() -> None:
    line = Line(lanes=True)
    first, second = line.write(), line.write()
    assert begun(first, second) == [True, False]


def test_a_read_sees_the_writes_before_it() -> None:
    line = Line()
    write, read = line.write(), line.read()
    assert begun(read) == [False]
    write.end()
    assert begun(read) == [True]


def test_reads_run_side_by_side_but_not_too_many() -> None:
    line = Line()
    reads = [line.read() for _ in range(READING_MAX + 1)]
    assert begun(*reads) == [True] * READING_MAX + [False]
    reads[3].end()
    assert begun(reads[-1]) == [True]


def test_reads_of_one_lane_do_not_overtake_each_other() -> None:
    line = Line()
    first, second = line.read("a"), line.read("a")
    assert begun(first, second) == [True, False]
    first.end()
    assert begun(second) == [True]


def test_a_write_waits_for_the_reads_before_it_and_what_follows_waits_behind_it() -> None:
    line = Line()
    read, write, later = line.read(), line.write(), line.read()
    assert begun(read, write, later) == [True, False, False]
    read.end()
    assert begun(write, later) == [True, False]
    write.end()
    assert begun(later) == [True]


def test_what_is_alone_waits_for_all_and_all_wait_for_it() -> None:
    line = Line()
    write, alone, later = line.write("a"), line.write("a", alone=True), line.write("a")
    assert begun(write, alone, later) == [True, False, False]
    write.end()
    assert begun(alone, later) == [True, False]
    alone.end()
    assert begun(later) == [True]


def test_what_waits_is_never_begun_once_it_is_abandoned() -> None:
    line = Line()
    read, write = line.read(), line.write()
    assert line.ordering.under_way == 2
    line.ordering.abandon()
    read.end()
    assert begun(write) == [False]
    assert line.ordering.under_way == 0


def test_nothing_begins_while_it_is_held() -> None:
    line = Line()
    first = line.read()
    line.hold()
    second = line.read()
    first.end()
    assert begun(second) == [False]
    line.release()
    assert begun(second) == [True]


def test_thousands_that_are_over_at_once_need_no_deep_stack() -> None:
    line = Line()
    first = line.read()
    rest = [line.write(at_once=True, alone=True) for _ in range(5000)]
    first.end()
    assert all(begun(*rest))
    assert line.ordering.under_way == 0


def test_what_is_asked_for_within_an_answer_keeps_its_place() -> None:
    line = Line()
    asked: list[Command] = []

    def answer_and_ask(over: Callable[[], None]) -> None:
        asked.append(line.read())
        over()

    line.ordering.run(answer_and_ask, writes=True)
    assert begun(*asked) == [True]
    assert asked[0].began_at is not None
    first = line.write()
    line.ordering.run(answer_and_ask, writes=False)
    assert len(asked) == 1
    asked[0].end()
    first.end()
    assert begun(*asked) == [True, True]


@pytest.mark.parametrize("lanes", [False, True])
@settings(derandomize=True, max_examples=300, deadline=None)
@given(data=st.data())
def test_effects_come_in_the_order_sent_and_nothing_starves(lanes: bool, data: st.DataObject) -> None:
    line = Line(lanes=lanes)
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["write", "write", "read", "read", "lane", "alone", "end", "end", "hold"])):
            case "write":
                line.write(data.draw(st.sampled_from(["a", "b", None])), at_once=data.draw(st.booleans()))
            case "read":
                line.read(at_once=data.draw(st.booleans()))
            case "lane":
                line.read(data.draw(st.sampled_from(["a", "b"])), at_once=data.draw(st.booleans()))
            case "alone":
                line.write(alone=True, at_once=data.draw(st.booleans()))
            case "end" if line.running:
                data.draw(st.sampled_from(line.running)).end()
            case "hold":
                (line.release if line.held else line.hold)()
    line.release()
    while line.running:
        data.draw(st.sampled_from(line.running)).end()
    assert line.ordering.under_way == 0
    for n, earlier in enumerate(line.commands):
        assert earlier.began_at is not None, "it starved"
        assert earlier.over_at is not None
        for later in line.commands[n + 1 :]:
            assert later.began_at is not None
            assert earlier.began_at < later.began_at
            side_by_side = earlier.over_at > later.began_at
            if earlier.alone or later.alone or earlier.writes != later.writes:
                assert not side_by_side
            elif lanes and earlier.writes and later.writes:
                assert not side_by_side or earlier.lane == later.lane is not None
            elif not earlier.writes and earlier.lane is not None:
                assert not side_by_side or earlier.lane != later.lane
    for command in line.commands:
        if not command.writes:
            at_that_time = [
                c
                for c in line.commands
                if not c.writes and c.began_at <= command.began_at < c.over_at  # type: ignore[operator]
            ]
            assert len(at_that_time) <= READING_MAX
