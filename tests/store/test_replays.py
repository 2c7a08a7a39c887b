"""Random commands by random actors: snapshot + events = later snapshot, and batching changes nothing.

The same law through sockets and dialects is told in `tests/scenarios`.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.domain import members, messages, receipts, replay, rooms
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Decision
from parley.domain.principal import OPERATOR, Principal
from tests.lengths import LONG
from tests.stage import Stage, as_json, somebody

OWNER, MEMBER, STRANGER, ADMIN = (somebody(name) for name in ("owner", "member", "stranger", "admin"))
ACTORS = (OWNER, MEMBER, STRANGER, msgspec.structs.replace(ADMIN, roles=frozenset({"admin"})))
SUBJECTS = [actor.subject for actor in ACTORS]
SEEDED = 3  # messages in the room before the story begins
_numbers = itertools.count()

lawful = settings(
    max_examples=400 if LONG else 40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.sampled_from(["a", "b", "é", ""])
client_ids = st.sampled_from([None, "x", "y"])
subjects = st.sampled_from(SUBJECTS)
roles = st.sampled_from(["owner", "moderator", "member"])
#: A command as its type and its parameters; `room` and `message` stand for the room and for one of its messages.
commands = st.one_of(
    st.tuples(
        st.just(messages.Send), st.fixed_dictionaries({"text": texts, "client_id": st.sampled_from([None, "x", "y"])})
    ),
    st.tuples(st.just(messages.Edit), st.fixed_dictionaries({"text": texts})),
    st.tuples(st.just(messages.Delete), st.just({})),
    st.tuples(st.just(members.Join), st.just({})),
    st.tuples(st.just(members.Leave), st.just({})),
    st.tuples(st.just(members.Invite), st.fixed_dictionaries({"subject": subjects, "role": roles})),
    st.tuples(st.just(members.Remove), st.fixed_dictionaries({"subject": subjects, "ban": st.booleans()})),
    st.tuples(st.just(members.SetRole), st.fixed_dictionaries({"subject": subjects, "role": roles})),
    st.tuples(
        st.just(rooms.Update),
        st.fixed_dictionaries({"title": texts, "visibility": st.sampled_from([None, "public", "private"])}),
    ),
    st.tuples(st.just(receipts.Mark), st.fixed_dictionaries({"seq": st.integers(1, 9)})),
)
steps = st.tuples(st.sampled_from(ACTORS), commands, st.integers(0, 7))
stories = st.lists(steps, min_size=1, max_size=30)
Story = list[tuple[Principal, tuple[type[Params], dict[str, Any]], int]]


def new_room(stage: Stage) -> str:
    name = f"room-{next(_numbers)}"
    stage.do(OWNER, rooms.Create(room=name))
    stage.do(MEMBER, members.Join(name))
    for i in range(SEEDED):
        stage.do((OWNER, MEMBER)[i % 2], messages.Send(name, f"seed {i}"))
    return name


def message_ids(stage: Stage, room: str) -> list[str]:
    return [message["id"] for message in stage.do(OPERATOR, messages.List(room, limit=200))["messages"]]


def told(kind: type[Params], parameters: dict[str, Any], room: str, ids: list[str], at: int) -> Params:
    if kind in (messages.Edit, messages.Delete):
        return kind(message=ids[at % len(ids)], **parameters)
    return kind(room=room, **parameters)


def snapshot(stage: Stage, room: str) -> dict[str, Any]:
    """What one who reads everything sees of a room."""
    shown = stage.do(OPERATOR, rooms.Get(room))["room"]
    return {
        "seq": shown.pop("seq"),
        "room": shown,
        "members": {m["subject"]: m for m in stage.do(OPERATOR, members.Members(room))["members"]},
        "messages": {m["seq"]: m for m in stage.do(OPERATOR, messages.List(room, limit=200))["messages"]},
    }


def follow(seen: dict[str, Any], event: dict[str, Any]) -> None:
    """What a client does with one event."""
    assert event["seq"] == seen["seq"] + 1
    seen["seq"] = event["seq"]
    noun, _, verb = event["type"].partition(".")
    if noun == "message":
        seen["messages"][event["data"]["message"]["seq"]] = event["data"]["message"]
    elif noun == "member":
        member = event["data"]["member"]
        if verb in ("left", "removed"):
            seen["members"].pop(member["subject"], None)
        else:
            seen["members"][member["subject"]] = member
    else:
        seen["room"] = {name: value for name, value in event["data"]["room"].items() if name != "seq"}


def play(stage: Stage, room: str, story: Story) -> Iterator[Decision | Refusal]:
    for who, (kind, parameters), at in story:
        stage.clock.forward(s=1)
        try:
            yield stage.decide(who, told(kind, parameters, room, message_ids(stage, room), at))
        except Refusal as refusal:
            yield refusal


@lawful
@given(story=stories, cut=st.integers(0, 30))
def test_a_snapshot_and_the_events_since_are_the_later_snapshot(stage: Stage, story: Story, cut: int) -> None:
    room = new_room(stage)
    seen = snapshot(stage, room)
    for at, _ in enumerate(play(stage, room, story)):
        if at == cut:
            seen = snapshot(stage, room)
    for event in stage.log(room, after=seen["seq"]):
        follow(seen, event)
    assert seen == snapshot(stage, room)


@lawful
@given(story=stories)
def test_live_events_lead_to_the_same_as_a_replay(stage: Stage, story: Story) -> None:
    room = new_room(stage)
    live, replayed = snapshot(stage, room), snapshot(stage, room)
    for outcome in play(stage, room, story):
        if isinstance(outcome, Decision):
            for event in outcome.events:
                follow(live, as_json(event))
        head = stage.do(OPERATOR, rooms.Get(room))["room"]["seq"]
        assert head == live["seq"], "a refusal, or a command that changes nothing, takes no seq"
    for event in stage.log(room, after=replayed["seq"]):
        follow(replayed, event)
    assert live == replayed == snapshot(stage, room)


@lawful
@given(story=stories)
def test_what_was_deleted_is_in_no_answer_any_more(stage: Stage, story: Story) -> None:
    room = new_room(stage)
    secret = stage.do(OWNER, messages.Send(room, "the secret text"))["message"]["id"]
    stage.do(OWNER, messages.Edit(secret, "the secret text, edited"))
    stage.do(OPERATOR, messages.Delete(secret))
    for _ in play(stage, room, story):
        pass
    everything = [stage.log(room), snapshot(stage, room), stage.do(OPERATOR, replay.EventList(room, after=0))]
    assert "secret text" not in json.dumps(everything)


@lawful
@given(story=stories)
def test_many_commands_in_one_transaction_come_to_the_same_as_one_by_one(stage: Stage, story: Story) -> None:
    one_by_one, together = new_room(stage), new_room(stage)
    asked = {}
    for room in (one_by_one, together):
        ids = message_ids(stage, room)
        asked[room] = [(who, told(kind, parameters, room, ids, at)) for who, (kind, parameters), at in story]
    separate: list[Any] = []
    for step in asked[one_by_one]:
        separate += stage.together(step)
    batched = stage.together(*asked[together])
    assert [plain(outcome, one_by_one) for outcome in separate] == [plain(outcome, together) for outcome in batched]
    assert plain(stage.log(one_by_one), one_by_one) == plain(stage.log(together), together)
    assert plain(snapshot(stage, one_by_one), one_by_one) == plain(snapshot(stage, together), together)


def plain(value: Any, room: str) -> str:
    """As JSON, without what must differ: the room's name and the ids that the server makes."""
    if isinstance(value, BaseException):
        assert isinstance(value, Refusal), repr(value)
        return f"{value.code}: {value.message}"
    text = json.dumps(as_json(value), sort_keys=True).replace(f'"{room}"', '"the room"')
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", "an id", text)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33])
def test_rows_of_any_number_come_back_as_they_went(stage: Stage, count: int) -> None:
    """SQLite takes rows in groups of sixteen and the rest one by one."""
    room = new_room(stage)
    data = {"n": [1, 2.5, None, True, "\u2028'\"\\"]}
    outcomes = stage.together(*[(OWNER, messages.Send(room, f"text {i}", data=data)) for i in range(count)])
    assert all(isinstance(outcome, Decision) for outcome in outcomes)
    shown = stage.do(OPERATOR, messages.List(room, limit=200))["messages"][SEEDED:]
    assert [(m["text"], m["data"]) for m in shown] == [(f"text {i}", data) for i in range(count)]
