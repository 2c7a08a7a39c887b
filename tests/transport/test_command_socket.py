"""Commands on a socket that are about its rooms: what a batch begins comes behind its answer (CONTRACT section 3)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parley.domain import accounts
from parley.service.passwords import hash_password
from tests.here import HereServer, serving
from tests.serving import NativeClient
from tests.streams import unfenced

pytestmark = pytest.mark.anyio

#: Takes its time, so that what the others of a batch bring about is there before the batch can be answered.
SLOW = ("account.set_password", {"password": "new", "current": "wrong"})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    with unfenced():
        async with serving(tmp_path / "data", limits__messages_per_s=0) as server:
            server.store.execute(accounts.Create("ada", hash_password("ada"), ["member"]))
            yield server


def token(server: HereServer) -> str:
    return server.token(server.store.execute(accounts.Find("ada")).reply.id)


async def ask(client: NativeClient, *calls: tuple[str, dict[str, Any]]) -> None:
    """One batch; its answers become news, as what the server says by itself."""
    batch = [
        {"jsonrpc": "2.0", "id": str(number), "method": method, "params": params}
        for number, (method, params) in enumerate(calls)
    ]
    await client.socket.send(json.dumps(batch))


def told(client: NativeClient) -> list[Any]:
    """The ids of answers and the `seq` of events, in the order they came."""
    return [
        one["id"] if "id" in one else one["params"]["seq"]
        for one in client.news
        if "id" in one or one["method"] == "event"
    ]


def is_event(seq: int) -> Any:
    return lambda one: one.get("method") == "event" and one["params"]["seq"] == seq


async def test_events_of_a_room_that_a_batch_subscribes_to_come_behind_its_answer(server: HereServer) -> None:
    async with server.native(token(server)) as client, server.native(token(server)) as other:
        await client.call("room.create", room="hall")
        said = [("message.send", {"room": "hall", "text": text}) for text in "ab"]
        await ask(client, ("room.subscribe", {"room": "hall", "after": 0}), *said, SLOW)
        await asyncio.gather(*(other.call("message.send", room="hall", text=text) for text in "cdef"))
        await client.until(is_event(7))
        await client.call("message.send", room="hall", text="g")
        await client.until(is_event(8))
        first = next(one for one in client.news if one.get("id") == "0")["result"]
        assert [event["seq"] for event in first["events"]] == list(range(1, first["seq"] + 1))
        answers, events = told(client)[:4], told(client)[4:]
        assert sorted(answers) == ["0", "1", "2", "3"]
        assert events == list(range(first["seq"] + 1, 9))


async def test_one_that_the_batch_takes_back_or_replaces_tells_nothing_of_its_own(server: HereServer) -> None:
    async with server.native(token(server)) as client:
        for room in ("hall", "den"):
            await client.call("room.create", room=room)
        await ask(
            client,
            ("room.subscribe", {"room": "hall"}),
            ("room.subscribe", {"room": "den"}),
            ("room.unsubscribe", {"room": "hall"}),
            ("room.subscribe", {"room": "den"}),
            ("message.send", {"room": "hall", "text": "a"}),
            ("message.send", {"room": "den", "text": "b"}),
            SLOW,
        )
        await client.until(is_event(2))
        await client.call("message.send", room="hall", text="c")
        await client.call("message.send", room="den", text="d")
        await client.until(is_event(3))
        assert [event["seq"] for event in client.events("den")] == [2, 3]
        assert client.events("hall") == []


async def test_without_an_answer_there_is_nothing_to_wait_for(server: HereServer) -> None:
    async with server.native(token(server)) as client:
        await client.call("room.create", room="hall")
        subscribe = {"jsonrpc": "2.0", "method": "room.subscribe", "params": {"room": "hall"}}
        await client.socket.send(json.dumps([subscribe, {"jsonrpc": "2.0", "id": "1", "method": "session.describe"}]))
        await client.until(lambda one: one.get("id") == "1")
        await client.call("message.send", room="hall", text="a")
        await client.until(is_event(2))
