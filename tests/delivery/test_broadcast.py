"""Newest wins: what each listener is handed, and that nobody's trouble is another's."""

from collections.abc import Callable

import pytest

from parley.delivery.broadcast import CONTINUED_MAX, Audio, Broadcasts
from parley.delivery.writing import SLICE

HEADERS = b"H."


def as_message(data: bytes) -> bytes:
    return b"<" + data + b">"


def as_chunk(data: bytes) -> bytes:
    return b"[" + data + b"]"


class Ear:
    """A listener that writes down what it is handed."""

    def __init__(self, form: Callable[[bytes], bytes] = as_message) -> None:
        self.form = form
        self.congested = False
        self.heard: list[bytes] = []
        self.ends = 0

    def write(self, data: bytes, /) -> None:
        self.heard.append(data)

    def over(self) -> None:
        self.ends += 1


class Gone(Ear):
    def write(self, data: bytes, /) -> None:
        raise RuntimeError("the transport is closed")


class Air:
    """The broadcasts of a node, and what is put on the air."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.is_fenced = False
        self.due: list[Callable[[], None]] = []
        self.node = Broadcasts(self.soon.append, self._run_due, lambda: self.is_fenced)

    def _run_due(self) -> None:
        while self.due:
            self.due.pop()()

    def send(
        self, data: bytes, *, fence: int = 1, link: int = 1, headers: bytes = HEADERS, last: int = 0, **more: bool
    ) -> None:
        self.node.receive(Audio("show", fence, link, headers, data, last=last, **more))  # type: ignore[arg-type]


@pytest.fixture
def air() -> Air:
    return Air()


def test_the_headers_come_first_and_then_each_page_in_the_form_of_its_listener(air: Air) -> None:
    one, other = Ear(), Ear(as_chunk)
    air.node.join("show", one)
    air.node.join("show", other)
    air.send(b"1")
    air.send(b"2")
    assert one.heard == [b"<H.1>", b"<2>"]
    assert other.heard == [b"[H.1]", b"[2]"]


def test_what_is_handed_out_is_made_once_for_each_form(air: Air) -> None:
    made: list[bytes] = []

    def form(data: bytes) -> bytes:
        made.append(data)
        return data

    for _ in range(50):
        air.node.join("show", Ear(form))
    air.send(b"1")
    air.send(b"2")
    assert made == [b"H.1", b"2"]


def test_who_joins_gets_the_newest_page_at_once_and_no_older_one(air: Air) -> None:
    air.send(b"1")
    air.send(b"23", last=1)
    late = Ear()
    air.node.join("show", late)
    air.send(b"4")
    assert late.heard == [b"<H.3>", b"<4>"]


def test_who_joins_within_a_packet_waits_for_one_that_begins(air: Air) -> None:
    air.send(b"1", last_continues=True)
    late, in_step = Ear(), Ear()
    air.node.join("show", late)
    assert late.heard == [b"<H.>"]
    air.send(b"2", continues=True, last_continues=True)
    air.node.join("show", in_step)
    air.send(b"3")
    air.send(b"4", continues=True)
    assert late.heard == [b"<H.>", b"<3>", b"<4>"], "once in step it gets what belongs together"


def test_but_not_for_ever(air: Air) -> None:
    late = Ear()
    air.node.join("show", late)
    for _ in range(CONTINUED_MAX + 1):
        air.send(b"x", continues=True, last_continues=True)
    assert late.heard == [b"<H.x>"]


def test_one_that_does_not_drain_loses_pages_and_the_others_none(air: Air) -> None:
    slow, quick = Ear(), Ear()
    tuned = air.node.join("show", slow)
    air.node.join("show", quick)
    air.send(b"1")
    slow.congested = True
    tuned.regroup()
    air.send(b"2")
    air.send(b"3")
    slow.congested = False
    tuned.regroup()
    air.send(b"4")
    assert slow.heard == [b"<H.1>", b"<4>"], "whole pages are lost, and no header comes twice"
    assert quick.heard == [b"<H.1>", b"<2>", b"<3>", b"<4>"]
    assert air.node.pages_passed_over == 2


def test_new_headers_reach_also_who_was_passed_over(air: Air) -> None:
    slow, quick = Ear(), Ear()
    tuned = air.node.join("show", slow)
    air.node.join("show", quick)
    air.send(b"1")
    slow.congested = True
    tuned.regroup()
    air.send(b"2", link=2, headers=b"N.")
    slow.congested = False
    tuned.regroup()
    air.send(b"3", link=2, headers=b"N.")
    assert slow.heard == [b"<H.1>", b"<N.3>"]
    assert quick.heard == [b"<H.1>", b"<N.2>", b"<3>"]


def test_one_that_has_gone_costs_the_others_nothing(air: Air) -> None:
    ears = [Ear(), Gone(), Ear()]
    for ear in ears:
        air.node.join("show", ear)
    air.send(b"1")
    air.send(b"2")
    assert ears[0].heard == ears[2].heard == [b"<H.1>", b"<2>"]


def test_a_lease_that_is_past_is_not_heard_any_more(air: Air) -> None:
    ear = Ear()
    air.node.join("show", ear)
    air.send(b"1", fence=2, link=2)
    air.send(b"x", fence=1, link=1)
    air.send(b"2", fence=3, link=2)
    assert ear.heard == [b"<H.1>", b"<2>"], "another lease may go on with the same link"


def test_the_end_is_told_once_and_the_next_broadcast_begins_with_its_headers(air: Air) -> None:
    ear = Ear()
    air.node.join("show", ear)
    air.send(b"1")
    air.node.end("show", 2)
    assert ear.ends == 1
    air.send(b"x")
    air.send(b"2", fence=3, link=3)
    assert ear.heard == [b"<H.1>", b"<H.2>"]
    air.node.end("show", 2)
    assert ear.ends == 1, "news that came late is about a lease that is past"


def test_what_is_due_comes_first_and_a_fenced_node_hands_out_nothing(air: Air) -> None:
    ear = Ear()
    tuned = air.node.join("show", ear)
    air.send(b"1")
    air.due.append(tuned.mute)  # its token has expired, and the timer comes late
    air.send(b"2")
    tuned.unmute()
    air.is_fenced = True
    air.send(b"3")
    late = Ear()
    air.node.join("show", late)
    assert late.heard == []
    air.is_fenced = False
    air.send(b"4")
    assert ear.heard == [b"<H.1>", b"<4>"]
    assert late.heard == [b"<H.4>"]


def test_a_large_round_is_cut_so_that_the_loop_can_breathe_and_keeps_its_order(air: Air) -> None:
    ears = [Ear() for _ in range(2 * SLICE + 10)]
    for ear in ears:
        air.node.join("show", ear)
    air.send(b"1")
    air.send(b"2")
    assert len(ears[-1].heard) == 1
    air.send(b"3")
    assert ears[-1].heard == [b"<H.1>", b"<2>"], "before the next page goes out, the last one has"
    while air.soon:
        air.soon.pop(0)()
    assert {tuple(ear.heard) for ear in ears} == {(b"<H.1>", b"<2>", b"<3>")}


def test_what_comes_due_between_two_slices_takes_effect_before_the_next(air: Air) -> None:
    ears = [Ear() for _ in range(2 * SLICE)]
    tuned = [air.node.join("show", ear) for ear in ears]
    air.send(b"0")
    air.send(b"1")
    assert not ears[-1].heard[1:]
    air.due.append(tuned[-1].mute)
    air.soon.pop()()
    assert [ear.heard[1:] for ear in ears[-2:]] == [[b"<1>"], []]
    air.send(b"2")
    air.due.append(lambda: setattr(air, "is_fenced", True))
    air.soon.pop()()
    assert [ear.heard[1:] for ear in (ears[0], ears[-2])] == [[b"<1>", b"<2>"], [b"<1>"]]
    air.is_fenced = False
    tuned[-1].unmute()
    air.send(b"3")
    assert [ear.heard[-1] for ear in ears] == [b"<3>"] * len(ears)


def test_who_was_passed_over_between_two_slices_gets_no_page_that_begins_with_half_a_packet(air: Air) -> None:
    ears = [Ear() for _ in range(SLICE + 1)]
    tuned = [air.node.join("show", ear) for ear in ears]
    air.send(b"0")
    air.send(b"1")
    tuned[-1].mute()
    tuned[-1].unmute()
    air.send(b"2", continues=True)
    air.send(b"3")
    assert [ear.heard[1:] for ear in ears[-2:]] == [[b"<1>", b"<2>", b"<3>"], [b"<3>"]]


def test_an_end_between_two_slices_hands_nothing_to_whom_it_may_not(air: Air) -> None:
    ears = [Ear() for _ in range(SLICE + 2)]
    tuned = [air.node.join("show", ear) for ear in ears]
    air.send(b"0")
    air.send(b"1")
    air.due.append(tuned[-1].mute)
    air.node.end("show", 1)
    assert [ear.heard[1:] for ear in ears[-2:]] == [[b"<1>"], []]
    assert {ear.ends for ear in ears} == {1}


def test_who_comes_muted_hears_nothing_until_it_is_unmuted(air: Air) -> None:
    air.send(b"1")
    ear = Ear()
    tuned = air.node.join("show", ear, is_muted=True)
    air.send(b"2")
    assert ear.heard == []
    tuned.unmute()
    air.send(b"3")
    assert ear.heard == [b"<H.3>"]


def test_who_leaves_is_handed_nothing_more_and_nothing_is_kept_of_an_idle_stream(air: Air) -> None:
    ear = Ear()
    tuned = air.node.join("show", ear)
    air.send(b"1")
    air.node.leave("show", tuned)
    air.node.leave("show", tuned)
    air.send(b"2")
    assert ear.heard == [b"<H.1>"]
    assert air.node.listeners("show") == 0
    air.node.end("show", 1)
    assert air.node.fences() == {}
