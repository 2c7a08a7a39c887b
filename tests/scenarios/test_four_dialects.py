"""One room, four dialects: whoever says it, and by whatever door, all are told the same id, `seq` and text."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.graphql_client import GraphqlClient, graphql
from tests.here import HereServer, serving, until
from tests.serving import NativeClient
from tests.socketio import socketio

pytestmark = pytest.mark.anyio

MESSAGE = "id room seq text at sender { subject name type } deleted deletedAt deletedBy { subject name type } reason"
EVENTS = f'subscription {{ roomEvents(room: "den", after: 0) {{ seq type message {{ {MESSAGE} }} data }} }}'
SEND = 'mutation($text: String!) { sendMessage(room: "den", text: $text) { message { id seq text } } }'
DELETE = f'mutation($id: ID!) {{ deleteMessage(message: $id, reason: "spam") {{ {MESSAGE} }} }}'
LIST = f'{{ messages(room: "den", after: 0) {{ messages {{ {MESSAGE} }} complete }} }}'
TEXT = "héllo 👩‍👩‍👧 <b>&</b>\n你好"

Call = Callable[..., Awaitable[Any]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    async with serving(tmp_path / "data", limits__ping_interval=0) as server:
        yield server


class Room:
    """Four people in one room, each by a dialect of their own; `rpc` can only ask."""

    def __init__(self, native: NativeClient, socketio: NativeClient, graphql: GraphqlClient, rpc: Call) -> None:
        self.native = native
        self.socketio = socketio
        self.graphql = graphql
        self.rpc = rpc
        self.reading = ""

    async def send(self, door: str, text: str) -> dict[str, Any]:
        """By that door: `{id, seq, text}` as its sender is answered."""
        if door == "graphql":
            said: Any = (await self.graphql.operation(SEND, text=text))["data"]["sendMessage"]["message"]
            return dict(said)
        call: Call = self.rpc if door == "rpc" else getattr(self, door).call
        message = (await call("message.send", room="den", text=text))["message"]
        return {name: message[name] for name in ("id", "seq", "text")}

    async def told(self, seq: int) -> dict[str, Any]:
        """What each door says of the event `seq`, in the native spelling."""
        clients = {"native": self.native, "socketio": self.socketio}
        found: dict[str, Any] = {}
        for name, client in clients.items():
            event = await client.until(lambda one: one.get("method") == "event" and one["params"]["seq"] == seq)
            found[name] = event["params"]["data"]["message"]
        await until(lambda: len(self.graphql.payloads(self.reading)) >= seq)
        event = self.graphql.payloads(self.reading)[seq - 1]["data"]["roomEvents"]
        assert event["seq"] == seq
        assert as_native(event["message"]) == event["data"]["message"]
        found["graphql"] = event["data"]["message"]
        page = await self.rpc("event.list", room="den", after=seq - 1, limit=1)
        found["rpc"] = page["events"][0]["data"]["message"]
        return found


def as_native(message: dict[str, Any]) -> dict[str, Any]:
    """A Message of GraphQL without what is null, in the native spelling."""
    names = {"deletedAt": "deleted_at", "deletedBy": "deleted_by"}
    return {names.get(name, name): value for name, value in message.items() if value not in (None, False)}


@pytest.fixture
async def room(server: HereServer) -> AsyncIterator[Room]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ada = await enter(server.native(server.token("ada")))
        await ada.call("room.create", room="den")
        for subject in ("ben", "cy", "dee"):
            await ada.call("room.invite", room="den", subject=subject)
        ben = await enter(socketio(server.url, server.token("ben"), "websocket"))
        cy = await enter(graphql(server.url, server.token("cy")))
        http = await enter(httpx2.AsyncClient(base_url=server.url, verify=False))
        token = server.token("dee")

        async def rpc(method: str, **params: Any) -> Any:
            asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = await http.post("/rpc", json=asked, headers={"Authorization": f"Bearer {token}"})
            return answer.json()["result"]

        made = Room(ada, ben, cy, rpc)
        for client in (ada, ben):
            await client.call("room.subscribe", room="den")
        made.reading = await cy.begin(EVENTS)
        yield made


async def test_a_message_by_any_is_the_same_in_all(room: Room) -> None:
    for seq, door in enumerate(("native", "socketio", "graphql", "rpc"), start=5):
        sent = await room.send(door, f"{TEXT} by {door}")
        assert sent == {"id": sent["id"], "seq": seq, "text": f"{TEXT} by {door}"}
        told = await room.told(seq)
        for message in told.values():
            assert {name: message[name] for name in sent} == sent
            assert message == told["native"]


async def test_a_deletion_by_an_admin_through_graphql_is_told_to_all_and_refused_to_a_plain_member(
    server: HereServer, room: Room
) -> None:
    sent = await room.send("rpc", "not for everybody")
    refused = await room.graphql.operation(DELETE, id=sent["id"])
    assert refused["data"] is None
    assert refused["errors"][0]["extensions"] == {"code": "forbidden", "status": 403}
    assert refused["errors"][0]["path"] == ["deleteMessage"]
    assert (await room.rpc("message.get", message=sent["id"]))["message"]["text"] == "not for everybody"

    async with graphql(server.url, server.token("root", roles=("admin",))) as root:
        gone = (await root.operation(DELETE, id=sent["id"]))["data"]["deleteMessage"]
    assert (gone["text"], gone["deleted"], gone["reason"]) == (None, True, "spam")
    assert gone["deletedBy"] == {"subject": "root", "name": "root", "type": "account"}
    told = await room.told(sent["seq"] + 1)
    for tombstone in told.values():
        assert tombstone == as_native(gone)

    page = (await room.graphql.operation(LIST))["data"]["messages"]
    assert [as_native(message) for message in page["messages"]] == [as_native(gone)]
    for call in (room.native.call, room.socketio.call, room.rpc):
        assert (await call("message.list", room="den", after=0))["messages"] == [as_native(gone)]
    # Whoever reads the log from its beginning is not told the text either.
    again = await room.graphql.begin(EVENTS)
    await until(lambda: len(room.graphql.payloads(again)) == sent["seq"] + 1)
    assert "not for everybody" not in str(room.graphql.payloads(again))
