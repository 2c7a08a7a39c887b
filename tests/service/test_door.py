"""The one door: rates, each connection's order, answers, and bugs that become incidents."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from parley.delivery.hub import Hub
from parley.delivery.outbox import Turn
from parley.delivery.presence import Presence
from parley.delivery.readers import Subscription
from parley.delivery.signals import Signals
from parley.domain import accounts, members, messages, presence, replay, rooms
from parley.domain.commands import COMMANDS
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.principal import Principal
from parley.domain.replay import Subscribed
from parley.service.door import Door, incident
from parley.service.limits import Buckets
from parley.service.ordering import Ordering
from tests.delivery.scene import ROOM, Lines, Logs, Loop, Recorder
from tests.service.shelf import Shelf
from tests.stage import guest, somebody

ADA, BEN = somebody("ada"), somebody("ben")
ROWS = {row.params: row for row in COMMANDS.values()}


class Desk:
    """A door over a shelf, and one client's line of commands."""

    def __init__(self, *, rate: float = 0, burst: float = 0) -> None:
        self.loop = Loop()
        self.shelf = Shelf()
        self.turn = Turn(self.loop.call_soon, lambda: None)
        self.hub = Hub(self.turn, self.loop.call_soon, Logs().read, self.loop.clock_s)
        self.present = Presence(self.loop.clock_s)
        self.signals = Signals(self.hub, self.loop.clock_s, self.present.count)
        self.present.told = self.signals
        self.hub.came, self.hub.left = self.present.came, self.present.left
        self.hashing: list[asyncio.Future[Params]] = []
        self.door = Door(
            self.shelf,
            self.hub,
            self.signals,
            self.present,
            messages=Buckets(rate, burst),
            guest_messages=Buckets(rate / 2, burst / 2),
            guest_cases=Buckets(0, 0),
            conversations=Buckets(0, 0),
            prepare=self._prepare,
            clock_s=self.loop.clock_s,
            connections_of=lambda session: 0,
        )
        self.line = self.door.ordering()
        self.answers: list[Any] = []

    async def _prepare(self, params: Params, principal: Principal) -> Params:
        hashing: asyncio.Future[Params] = asyncio.get_running_loop().create_future()
        self.hashing.append(hashing)
        return await hashing

    def submit(self, params: Params, who: Principal = ADA, line: Ordering | None = None) -> None:
        self.door.submit(ROWS[type(params)], params, who, line or self.line, self.answers.append)

    def subscribe(self, reader: Recorder, room: str = ROOM) -> None:
        params = replay.Subscribe(room=room)

        def answered(subscription: Subscription | None, result: Any) -> None:
            if subscription is not None:
                reader.subscriptions.append(subscription)
            self.answers.append(result)

        self.door.subscribe(ROWS[replay.Subscribe], params, reader, ADA, self.line, lambda: True, answered)

    def reader(self, subject: str = "ada") -> Recorder:
        return Recorder(self.turn, Lines(), subject)

    def told(self) -> list[Any]:
        told, self.answers = self.answers, []
        return [(told_.code, told_.facts) if isinstance(told_, Refusal) else told_ for told_ in told]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def send(text: str = "hello", **more: Any) -> messages.Send:
    return messages.Send(room=ROOM, text=text, **more)


def rate_limited(wait_s: float) -> tuple[str, dict[str, Any]]:
    return "rate_limited", {"retry_after": pytest.approx(wait_s, abs=0.0015)}


def page(seq: int = 0) -> Subscribed:
    reply = {"room": ROOM, "epoch": "e", "seq": seq, "events": [], "complete": True, "reset": False}
    return Subscribed(reply, "member", True)


# --- Answers ----------------------------------------------------------------------------------------------------------


def test_a_result_and_a_refusal_come_back_as_they_are_and_are_counted(desk: Desk) -> None:
    desk.submit(send())
    desk.shelf.answer({"message": 1})
    desk.submit(rooms.Get(room=ROOM))
    desk.shelf.answer(Refusal("not_found"))
    assert desk.told() == [{"message": 1}, ("not_found", {})]
    assert desk.door.outcomes == {("message.send", "ok"): 1, ("room.get", "not_found"): 1}


def test_the_store_decides_as_whoever_asks(desk: Desk) -> None:
    desk.submit(send(), BEN)
    assert desk.shelf.jobs[0].principal is BEN
    assert desk.shelf.jobs[0].params == send()


def test_a_read_waits_for_the_write_before_it(desk: Desk) -> None:
    desk.submit(send())
    desk.submit(rooms.Get(room=ROOM))
    assert len(desk.shelf.jobs) == 1
    desk.shelf.answer({})
    assert len(desk.shelf.jobs) == 1


def test_each_is_answered_before_the_next_begins(desk: Desk) -> None:
    reader = desk.reader()
    desk.subscribe(reader)

    def unsubscribe(over: Any) -> None:
        desk.answers.append("unsubscribed")
        desk.hub.unsubscribe(reader.subscriptions.pop())
        over()

    desk.line.run(unsubscribe, writes=True, alone=True)
    desk.shelf.answer(page())
    assert desk.told() == [page().reply, "unsubscribed"]
    assert desk.hub.rooms == {}


def test_a_write_is_answered_before_what_is_over_at_once_behind_it(desk: Desk) -> None:
    desk.submit(send())
    desk.line.run(lambda over: (desk.answers.append("at once"), over())[1], writes=True, alone=True)
    desk.shelf.answer({"message": 1})
    assert desk.told() == [{"message": 1}, "at once"]


def test_two_subscriptions_of_one_room_are_read_one_after_the_other(desk: Desk) -> None:
    reader = desk.reader()
    desk.subscribe(reader)
    desk.subscribe(reader)
    desk.subscribe(reader, "attic")
    assert len(desk.shelf.jobs) == 1
    desk.shelf.answer(page())
    assert len(desk.shelf.jobs) == 2


def test_an_answer_that_cannot_be_given_does_not_hold_up_the_line(desk: Desk) -> None:
    def fail(_result: Any) -> None:
        raise ValueError("a bug of the connection")

    desk.door.submit(ROWS[rooms.Get], rooms.Get(room=ROOM), ADA, desk.line, fail)
    desk.submit(send())
    with pytest.raises(ValueError, match="a bug of the connection"):
        desk.shelf.answer({})
    desk.shelf.answer({"message": 1})
    assert desk.told() == [{"message": 1}]


# --- Rates ------------------------------------------------------------------------------------------------------------


def test_beyond_the_burst_a_message_is_refused_with_the_time_to_wait_and_never_reaches_the_store() -> None:
    desk = Desk(rate=10, burst=3)
    for n in range(5):
        desk.submit(send(str(n)))
    assert len(desk.shelf.jobs) == 3
    assert desk.told() == [rate_limited(0.1), rate_limited(0.1)]
    assert desk.door.outcomes["message.send", "rate_limited"] == 2


def test_whoever_waits_as_long_as_told_gets_through() -> None:
    desk = Desk(rate=3, burst=1)
    desk.submit(send())
    desk.submit(send())
    ((_, facts),) = desk.told()
    desk.loop.now_s += facts["retry_after"]
    desk.submit(send())
    assert desk.told() == []
    assert len(desk.shelf.jobs) == 2


def test_a_message_sent_twice_counts_twice() -> None:
    desk = Desk(rate=10, burst=1)
    desk.submit(send(client_id="once"))
    desk.submit(send(client_id="once"))
    assert desk.told() == [rate_limited(0.1)]


def test_edits_count_with_messages_and_nothing_else_does() -> None:
    desk = Desk(rate=10, burst=2)
    desk.submit(send())
    desk.submit(messages.Edit(message="m", text="hello"))
    desk.submit(messages.Edit(message="m", text="hello"))
    assert desk.told() == [rate_limited(0.1)]
    for _ in range(20):
        desk.submit(messages.Delete(message="m"))
        desk.submit(members.Leave(room=ROOM))
    assert desk.told() == []


def test_a_subject_has_one_bucket_over_all_its_connections_and_others_have_their_own() -> None:
    desk = Desk(rate=10, burst=1)
    desk.submit(send(), ADA)
    desk.submit(send(), somebody("ada"), desk.door.ordering())
    desk.submit(send(), BEN)
    assert len(desk.told()) == 1
    assert [job.principal.subject for job in desk.shelf.jobs] == ["ada", "ben"]


def test_guests_have_buckets_of_their_own_size() -> None:
    desk = Desk(rate=10, burst=4)
    for _ in range(3):
        desk.submit(send(), guest(ROOM))
    assert desk.told() == [rate_limited(0.2)]


def test_a_rate_of_nothing_is_no_limit(desk: Desk) -> None:
    for _ in range(100):
        desk.submit(send())
    assert len(desk.shelf.jobs) == 100


# --- Incidents --------------------------------------------------------------------------------------------------------


def test_a_bug_is_told_as_an_incident_with_nothing_of_its_cause_and_logged_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.submit(send())
    desk.shelf.answer(KeyError("the cause, with /a/path and a row"))
    (refusal,) = desk.answers
    assert (refusal.code, refusal.status, list(refusal.facts)) == ("internal", 500, ["incident"])
    assert "cause" not in f"{refusal.message}{refusal.facts}{refusal!r}{refusal.__cause__!r}"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert refusal.facts["incident"] in record.getMessage()
    assert "message.send" in record.getMessage()
    assert record.exc_info is not None
    assert "the cause" in str(record.exc_info[1])
    assert desk.door.outcomes["message.send", "internal"] == 1


def test_each_incident_has_an_id_of_its_own() -> None:
    ids = {incident(ValueError("x"), "somewhere").facts["incident"] for _ in range(50)}
    assert len(ids) == 50


def test_a_bug_costs_the_commands_behind_it_nothing(desk: Desk) -> None:
    desk.submit(send())
    desk.submit(rooms.Get(room=ROOM))
    desk.shelf.answer(ValueError("x"))
    desk.shelf.answer({"room": 1})
    assert desk.told()[1] == {"room": 1}


def test_a_bug_while_subscribing_is_an_incident_and_subscribes_nothing(desk: Desk) -> None:
    desk.subscribe(desk.reader())
    desk.shelf.answer(ValueError("x"))
    assert desk.told()[0][0] == "internal"
    assert desk.hub.rooms == {}


# --- Live commands ----------------------------------------------------------------------------------------------------


def test_typing_is_told_once_the_store_has_admitted_it(desk: Desk) -> None:
    reader = desk.reader("cy")
    desk.subscribe(reader)
    desk.shelf.answer(page())
    desk.submit(presence.TypingSet(room=ROOM, active=True))
    desk.submit(presence.TypingSet(room=ROOM, active=True), BEN)
    desk.shelf.answer({})
    desk.shelf.answer(Refusal("forbidden"))
    desk.signals.tick(0)
    desk.loop.run()
    assert desk.told()[1:] == [{}, ("forbidden", {})]
    assert list(desk.signals._typing[ROOM]) == ["ada"]
    assert "~typing.changed" in reader.lines


def test_who_is_present_is_told_to_whom_the_store_admits(desk: Desk) -> None:
    desk.subscribe(desk.reader())
    desk.shelf.answer(page())
    desk.submit(presence.PresenceList(room=ROOM))
    desk.submit(presence.PresenceList(room=ROOM), BEN)
    desk.shelf.answer({})
    desk.shelf.answer(Refusal("not_found"))
    assert desk.told()[1:] == [{"present": [{"subject": "ada", "name": "Ada"}]}, ("not_found", {})]


# --- Passwords, and whoever awaits ------------------------------------------------------------------------------------


def in_a_loop(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 10))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


CREATE = accounts.Create("eve", "a password", ["member"])


def test_a_password_reaches_the_store_as_its_hash_and_nothing_behind_it_gets_there_first(desk: Desk) -> None:
    async def story() -> None:
        desk.submit(CREATE)
        desk.submit(members.Leave(room=ROOM))
        desk.submit(rooms.Get(room=ROOM))
        await settle()
        assert desk.shelf.jobs == []
        desk.hashing[0].set_result(msgspec.structs.replace(CREATE, password="hash"))
        await settle()
        (job,) = desk.shelf.jobs
        assert isinstance(job.params, accounts.Create)
        assert job.params.password == "hash"
        desk.shelf.answer({"account": 1})
        assert isinstance(desk.shelf.answer({}), members.Leave)
        assert isinstance(desk.shelf.answer({}), rooms.Get)

    in_a_loop(story())
    assert desk.told() == [{"account": 1}, {}, {}]


def test_what_cannot_be_prepared_is_refused_and_the_line_goes_on(desk: Desk) -> None:
    async def story() -> None:
        for _ in range(2):
            desk.submit(CREATE)
        desk.submit(rooms.Get(room=ROOM))
        await settle()
        desk.hashing[0].set_exception(Refusal("overloaded"))
        await settle()
        desk.hashing[1].set_exception(MemoryError())
        await settle()
        desk.shelf.answer({})

    in_a_loop(story())
    told = desk.told()
    assert [told[0][0], told[1][0], told[2]] == ["overloaded", "internal", {}]


def test_whoever_awaits_gets_the_result_or_the_refusal(desk: Desk) -> None:
    async def story() -> None:
        asked = asyncio.ensure_future(desk.door.ask(ROWS[messages.Send], send(), ADA, desk.line))
        await settle()
        desk.shelf.answer({"message": 1})
        assert await asked == {"message": 1}
        asked = asyncio.ensure_future(desk.door.ask(ROWS[messages.Send], send(), ADA, desk.line))
        await settle()
        desk.shelf.answer(Refusal("archived"))
        with pytest.raises(Refusal, match="archived"):
            await asked

    in_a_loop(story())


def test_whoever_awaits_no_more_holds_up_nobody(desk: Desk) -> None:
    async def story() -> None:
        asked = asyncio.ensure_future(desk.door.ask(ROWS[messages.Send], send(), ADA, desk.line))
        await settle()
        asked.cancel()
        desk.submit(rooms.Get(room=ROOM))
        await settle()
        desk.shelf.answer({"message": 1})
        desk.shelf.answer({"room": 1})

    in_a_loop(story())
    assert desk.told() == [{"room": 1}]
