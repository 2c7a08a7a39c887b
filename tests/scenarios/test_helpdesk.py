"""The helpdesk, told once and through every door: a guest by one, an agent by another (CONTRACT sections 1 and 3)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from parley.domain import accounts
from parley.domain.principal import OPERATOR
from parley.service import watch
from parley.service.passwords import hash_password
from tests.here import DOORS, Door, HereServer, serving, until
from tests.serving import CommandRefused, NativeClient
from tests.streams import unfenced

pytestmark = pytest.mark.anyio

#: Guest and agent: each door for each of them at least once, and the other way round.
PAIRS: list[tuple[Door, Door]] = [
    ("native", "native"),
    *((door, "native") for door in DOORS if door != "native"),
    *(("native", door) for door in DOORS if door != "native"),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    limits = {"limits__conversations_per_min": 0, "limits__guest_messages_per_s": 0, "limits__ping_interval": 0}
    with unfenced():  # signals are to be heard, however busy the machine is
        async with serving(tmp_path / "data", helpdesk__return_after=20, **limits) as server:
            for name, role in (("ava", "agent"), ("bo", "agent"), ("root", "admin")):
                server.store.execute(accounts.Create(name, hash_password(name), [role]))  # type: ignore[list-item]
            yield server


class Guest:
    """What `POST /conversations` gave, and what it leads to."""

    def __init__(self, server: HereServer, answer: dict[str, Any]) -> None:
        self.server = server
        self.conversation: str = answer["conversation"]["id"]
        self.subject: str = answer["conversation"]["visitor"]["subject"]
        self.access: str = answer["access_token"]
        self.refresh: str = answer["refresh_token"]


async def post(server: HereServer, path: str, body: Any) -> httpx2.Response:
    async with httpx2.AsyncClient() as http:
        return await http.post(server.url + path, json=body)


async def begins(server: HereServer, **said: Any) -> Guest:
    answer = await post(server, "/conversations", said)
    assert answer.status_code == 201, answer.text
    return Guest(server, answer.json())


async def polled(server: HereServer, times: int) -> None:
    """Wait until every node has looked into the store so often."""
    for node in getattr(server, "nodes", [server]):
        for _ in range(times):
            before = node.server.parts.watch.polled_at_ms
            await until(lambda node=node, before=before: node.server.parts.watch.polled_at_ms != before)


async def signed_in(server: HereServer, name: str) -> str:
    answer = await post(server, "/auth/login", {"username": name, "password": name})
    token: str = answer.json()["access_token"]
    return token


@asynccontextmanager
async def by(server: HereServer, door: Door, token: str) -> AsyncIterator[NativeClient]:
    server.door = door
    async with server.client(token) as client:
        yield client


async def refused(call: Any) -> str:
    with pytest.raises(CommandRefused) as refusal:
        await call
    return refusal.value.code


def signals(client: NativeClient, kind: str) -> list[Any]:
    return [
        one["params"]["data"] for one in client.news if one.get("method") == "signal" and one["params"]["type"] == kind
    ]


def types(client: NativeClient, room: str) -> list[str]:
    return [event["type"] for event in client.events(room)]


@pytest.mark.parametrize(("guest_door", "agent_door"), PAIRS)
async def test_the_whole_story(server: HereServer, guest_door: Door, agent_door: Door) -> None:
    """Begin, claim, talk, lose the line, close, rate, come back the next day: everybody sees all of it, once."""
    ava_token = await signed_in(server, "ava")
    async with by(server, agent_door, ava_token) as ava:
        await ava.call("room.subscribe", room="queue")
        visitor = await begins(server, name="Vi", page="https://shop.example/", message="my order?")
        room = visitor.conversation
        heard = await ava.event("conversation.queued", "queue")
        assert heard["data"]["conversation"]["visitor"]["name"] == "Vi"

        async with by(server, guest_door, visitor.access) as guest:
            replay = await guest.call("room.subscribe", room=room, after=0)
            assert [event["type"] for event in replay["events"]] == ["conversation.queued", "message.created"]
            claimed = await ava.call("conversation.claim", conversation=room)
            assert claimed["conversation"]["assignee_name"] == "ava"
            await ava.call("room.subscribe", room=room)
            await guest.event("conversation.claimed", room)
            await ava.call("message.send", room=room, text="which one?")
            await ava.call("message.send", room=f"{room}.notes", text="regular customer")
            await guest.call("message.send", room=room, text="number 7", client_id="a")
            for client in (ava, guest):
                await client.until(lambda one: "number 7" in str(one))
            last = guest.events(room)[-1]["seq"]

        # The line is lost; what was said meanwhile is there afterwards, once.
        await ava.call("message.send", room=room, text="it is on its way")
        used = await post(server, "/auth/refresh", {"refresh_token": visitor.refresh})
        async with by(server, guest_door, used.json()["access_token"]) as guest:
            replay = await guest.call("room.subscribe", room=room, after=last)
            assert [event["data"]["message"]["text"] for event in replay["events"]] == ["it is on its way"]
            again = await guest.call("message.send", room=room, text="number 7", client_id="a")
            assert again["duplicate"] is True
            await ava.call("conversation.close", conversation=room)
            await guest.event("conversation.closed", room)
            rated = await guest.call("conversation.rate", conversation=room, score=5, comment="quick")
            assert rated["conversation"]["rating"] == 5
            await ava.event("conversation.rated", "queue")
            assert await refused(ava.call("message.send", room=room, text="bye")) == "conflict"

            await guest.call("message.send", room=room, text="one more thing")
            await ava.event("conversation.reopened", "queue")
            await guest.event("message.created", room)
            back = await guest.call("conversation.get", conversation=room)
            assert (back["conversation"]["status"], back["conversation"]["position"]) == ("queued", 1)

            told = await guest.call("event.list", room=room, after=0)
        assert [event["seq"] for event in told["events"]] == list(range(1, len(told["events"]) + 1))
        assert [event["type"].removeprefix("conversation.") for event in told["events"]] == [
            "queued",
            "message.created",
            "claimed",
            "message.created",
            "message.created",
            "message.created",
            "closed",
            "rated",
            "reopened",
            "message.created",
        ]
        assert "regular customer" not in str(told), "notes are for agents"


@pytest.mark.parametrize(("guest_door", "agent_door"), PAIRS)
async def test_what_the_visitor_types_is_shown_to_agents_alone(
    server: HereServer, guest_door: Door, agent_door: Door
) -> None:
    visitor = await begins(server, name="Vi")
    room = visitor.conversation
    async with (
        by(server, agent_door, await signed_in(server, "ava")) as ava,
        by(server, guest_door, visitor.access) as guest,
        by(server, guest_door, visitor.access) as other_tab,
    ):
        for client in (ava, guest, other_tab):
            await client.call("room.subscribe", room=room)
        await guest.call("typing.set", room=room, active=True, text="I want my mon")
        server.tell()
        await ava.until(lambda one: "I want my mon" in str(one))
        await guest.call("typing.set", room=room, active=True, text="I would like a refund")
        server.tell()
        await ava.until(lambda one: "I would like a refund" in str(one))
        await other_tab.until(lambda one: "typing.changed" in str(one))
        started = [one for told in signals(ava, "typing.changed") for one in told["started"]]
        assert {one["subject"] for one in started} == {visitor.subject}
        await ava.call("typing.set", room=room, active=True, text="a draft of mine")
        server.tell()
        await guest.until(lambda one: "'name': 'ava'" in str(one) and "typing.changed" in str(one))
        for client in (guest, other_tab):
            assert "refund" not in str(client.news)
            assert "my mon" not in str(client.news)
        assert all("draft" not in str(client.news) for client in (ava, guest, other_tab))


async def test_with_the_setting_off_nobody_is_shown_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", helpdesk__preview="false") as server:
        server.store.execute(accounts.Create("ava", hash_password("ava"), ["agent"]))
        visitor = await begins(server)
        async with (
            by(server, "native", await signed_in(server, "ava")) as ava,
            by(server, "native", visitor.access) as guest,
        ):
            shown = await guest.call("conversation.get", conversation=visitor.conversation)
            assert shown["conversation"]["preview"] is False, "the visitor is told"
            await ava.call("room.subscribe", room=visitor.conversation)
            await guest.call("typing.set", room=visitor.conversation, active=True, text="secret")
            server.tell()
            await ava.until(lambda one: "typing.changed" in str(one))
            assert "secret" not in str(ava.news)


async def test_who_waits_is_told_the_truth_of_their_place(server: HereServer) -> None:
    first, second = await begins(server), await begins(server)
    async with (
        by(server, "native", await signed_in(server, "ava")) as ava,
        by(server, "native", second.access) as guest,
    ):
        await guest.call("room.subscribe", room=second.conversation)
        server.move(1)
        await until(lambda: signals(guest, "queue.position") == [{"position": 2}])
        await ava.call("conversation.claim", conversation=first.conversation)
        server.move(1)
        await until(lambda: signals(guest, "queue.position") == [{"position": 2}, {"position": 1}])
        await ava.call("conversation.claim", conversation=second.conversation)
        server.move(1)
        shown = await guest.call("conversation.get", conversation=second.conversation)
        assert shown["conversation"]["position"] is None
        assert len(signals(guest, "queue.position")) == 2


async def test_an_agent_who_is_gone_gives_back_and_one_who_is_connected_does_not(server: HereServer) -> None:
    gone, kept = await begins(server), await begins(server)
    async with by(server, "native", await signed_in(server, "bo")) as bo:
        await bo.call("room.subscribe", room="queue")
        await bo.call("conversation.claim", conversation=kept.conversation)
        async with by(server, "native", await signed_in(server, "ava")) as ava:
            await ava.call("conversation.claim", conversation=gone.conversation)
            await ava.call("session.describe")

        def back() -> bool:
            queued = [e for e in bo.events("queue") if e["type"] == "conversation.queued"]
            return any(e["data"]["conversation"]["id"] == gone.conversation for e in queued)

        for _ in range(8):
            server.move(6)
            # A write: what was due has been written by the time this is answered.
            assert await refused(bo.call("room.leave", room="there.is.no.such.room")) == "not_found"
        await until(back)
        shown = await bo.call("conversation.get", conversation=kept.conversation)
        assert shown["conversation"]["assignee_name"] == "bo"


@pytest.mark.parametrize("door", DOORS)
async def test_blocking_ends_the_visitors_tokens_live_and_unblocking_gives_them_back(
    server: HereServer, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 0.1)
    visitor = await begins(server)
    async with by(server, "native", await signed_in(server, "ava")) as ava:
        async with by(server, door, visitor.access) as guest:
            await guest.call("room.subscribe", room=visitor.conversation)
            await ava.call("conversation.block", conversation=visitor.conversation, reason="spam")
            closing = await guest.until(lambda one: one.get("method") == "session.closing")
            assert closing["params"] == {"code": 4403, "reason": "spam", "reconnect": False}
        assert (await post(server, "/auth/refresh", {"refresh_token": visitor.refresh})).status_code == 401
        await ava.call("conversation.unblock", conversation=visitor.conversation)
        refreshed = await post(server, "/auth/refresh", {"refresh_token": visitor.refresh})
        assert refreshed.status_code == 200
        for token in (visitor.access, refreshed.json()["access_token"]):
            async with by(server, door, token) as guest:
                assert await guest.call("message.send", room=visitor.conversation, text="sorry")
        await polled(server, 3)  # the poll repeats both changes, and ends nobody by it
        async with by(server, door, visitor.access) as guest:
            assert await guest.call("conversation.get", conversation=visitor.conversation)


@pytest.mark.parametrize("door", DOORS)
async def test_who_is_an_agent_no_more_reads_no_more(server: HereServer, door: Door) -> None:
    visitor = await begins(server)
    rooms = [visitor.conversation, f"{visitor.conversation}.notes", "queue"]
    bo = server.store.execute(accounts.Find("bo")).reply.id
    async with (
        by(server, door, await signed_in(server, "bo")) as agent,
        by(server, "native", visitor.access) as guest,
        by(server, "native", await signed_in(server, "root")) as root,
    ):
        for room in rooms:
            await agent.call("room.subscribe", room=room)
        await root.call("account.set_roles", account=bo, roles=["member"])
        for room in rooms:
            ended = {"room": room, "reason": "forbidden"}
            await agent.until(lambda one, ended=ended: one.get("params") == ended)  # type: ignore[misc]
        await guest.call("message.send", room=visitor.conversation, text="do you hear me?")
        assert await refused(agent.call("room.get", room=visitor.conversation)) == "not_found"
        assert "do you hear me" not in str(agent.news)


async def test_an_agent_who_is_an_admin_too_reads_on_as_an_admin_and_is_shown_no_more(server: HereServer) -> None:
    visitor = await begins(server)
    server.store.execute(accounts.Create("both", hash_password("both"), ["agent", "admin"]))
    both_id = server.store.execute(accounts.Find("both")).reply.id
    async with (
        by(server, "native", await signed_in(server, "both")) as both,
        by(server, "native", visitor.access) as guest,
    ):
        room = visitor.conversation
        await both.call("room.subscribe", room=room)
        await guest.call("room.subscribe", room=room)
        server.store.execute(accounts.SetRoles(both_id, ["admin"]), OPERATOR)
        await both.until(lambda one: one.get("method") == "session.changed")
        await guest.call("message.send", room=room, text="hello")
        await both.until(lambda one: "hello" in str(one))
        await guest.call("typing.set", room=room, active=True, text="for agents only")
        server.tell()
        await both.until(lambda one: "typing.changed" in str(one))
        assert "for agents only" not in str(both.news)


@pytest.mark.parametrize("door", DOORS)
async def test_a_guest_who_writes_too_much_waits_and_disturbs_nobody(tmp_path: Path, door: Door) -> None:
    """With the limits as they are by default: 5 messages at once and 60 changes of the case, then 2 a second.

    However slow the machine is: some have come free again by the time that the last one is sent.
    """
    async with serving(tmp_path / "data", limits__ping_interval=0) as server:
        loud, other = await begins(server), await begins(server)
        async with by(server, door, loud.access) as guest, by(server, "native", other.access) as neighbour:
            say = {"room": loud.conversation, "text": "hey"}

            async def send(times: int) -> None:
                for _ in range(times):
                    await guest.call("message.send", **say)

            await send(5)
            with pytest.raises(CommandRefused) as refusal:
                await send(50)
            assert refusal.value.code == "rate_limited"
            assert 0 < refusal.value.data["retry_after"] <= 0.5

            async def rename(numbers: range) -> None:
                for number in numbers:
                    await guest.call("conversation.update", conversation=loud.conversation, name=f"Vi {number}")

            await rename(range(60))
            assert await refused(rename(range(60, 1000))) == "rate_limited"
            await neighbour.call("message.send", room=other.conversation, text="hello")
            server.move(1)
            await guest.call("message.send", **say)
            await guest.call("conversation.rate", conversation=loud.conversation, score=1)


async def test_an_agent_who_goes_away_is_seen_to_by_the_others_at_once(server: HereServer) -> None:
    async with (
        by(server, "native", await signed_in(server, "ava")) as ava,
        by(server, "socketio-websocket", await signed_in(server, "bo")) as bo,
    ):
        await bo.call("room.subscribe", room="queue")
        await ava.call("agent.set_status", status="away")
        await bo.until(lambda one: one.get("method") == "signal" and one["params"]["type"] == "agent.changed")
        (told,) = signals(bo, "agent.changed")
        assert (told["agent"]["name"], told["agent"]["status"]) == ("ava", "away")


async def test_agents_see_who_else_is_looking(server: HereServer) -> None:
    visitor = await begins(server, name="Vi")
    room = visitor.conversation
    async with (
        by(server, "native", await signed_in(server, "ava")) as ava,
        by(server, "native", await signed_in(server, "bo")) as bo,
        by(server, "native", await signed_in(server, "root")) as root,
        by(server, "native", visitor.access) as guest,
    ):
        for client in (ava, bo, root, guest):
            await client.call("room.subscribe", room=room)
        present = await ava.call("presence.list", room=room)
        assert sorted(one["name"] for one in present["present"]) == ["Vi", "ava", "bo"], "an admin only reads"


async def test_erasing_a_visitor_is_live_and_leaves_no_trace_of_the_person(server: HereServer) -> None:
    visitor = await begins(server, name="Vi Secret", email="vi@secret.example", message="my secret text")
    room = visitor.conversation
    async with (
        by(server, "native", await signed_in(server, "ava")) as ava,
        by(server, "native", await signed_in(server, "root")) as root,
    ):
        await ava.call("room.subscribe", room=room)
        await ava.call("conversation.claim", conversation=room)
        await ava.call("message.send", room=room, text="hello")
        async with by(server, "native", visitor.access) as guest:
            await guest.call("room.subscribe", room=room)
            await root.call("visitor.erase", subject=visitor.subject)
            assert await guest.closed() == (4403, "erased")
        await ava.event("message.deleted", room)
        for told in (
            await ava.call("event.list", room=room, after=0),
            await ava.call("event.list", room="queue", after=0),
            await ava.call("message.list", room=room),
            await ava.call("conversation.list"),
            await root.call("audit.list"),
            await root.call("visitor.export", subject=visitor.subject),
        ):
            assert "ecret" not in str(told)
        seqs = [event["seq"] for event in (await ava.call("event.list", room=room, after=0))["events"]]
        assert seqs == list(range(1, len(seqs) + 1))
    assert (await post(server, "/auth/refresh", {"refresh_token": visitor.refresh})).status_code == 401
