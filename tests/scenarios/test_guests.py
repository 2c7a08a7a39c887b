"""A guest's token tried on every command there is, through every door: nothing but its own (CONTRACT section 3).

Generated from the registry, so that a new command is covered by being there. For each parameter that names something
the answers for what exists and for what is made up are the same, to the letter.
"""

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from parley.dialects.graphql_schema import ROOTS
from parley.domain import accounts, departments, members, replies, rooms
from parley.domain.commands import COMMANDS, Command
from parley.domain.principal import OPERATOR
from parley.service.passwords import hash_password
from tests.graphql_client import document_of
from tests.here import DOORS, HereServer, serving
from tests.serving import CommandRefused, NativeClient

pytestmark = pytest.mark.anyio

#: Parameters that name a thing of the contract's list: anything but one's own does not exist.
NAMES = ("room", "message", "conversation", "stream", "subject", "session", "token_id")
#: Parameters that name something else, which no guest may do anything with: that it may not is all it learns.
BESIDES = ("account", "agent", "department", "reply", "webhook", "delivery")
MADE_UP = "c-00000000-0000-7000-8000-000000000000"


@dataclass
class Things:
    """What exists: by the parameter that would name it."""

    own: dict[str, str]
    others: dict[str, list[str]]


def sample(node: Any, name: str) -> Any:
    """A value that the parameter takes."""
    info = msgspec.inspect
    match node:
        case info.StrType():
            return {"email": "a@b.example", "page": "https://x.example/", "url": "https://x.example/"}.get(name, "x")
        case info.IntType():
            return node.ge or 1
        case info.FloatType():
            return 1.0
        case info.BoolType():
            return True
        case info.LiteralType():
            return node.values[0]
        case info.UnionType():
            return sample(next(part for part in node.types if not isinstance(part, info.NoneType)), name)
        case info.ListType() | info.SequenceType() if hasattr(node, "item_type"):
            return [sample(node.item_type, name)]
        case info.DictType():
            return {}
        case info.StructType():
            return {f.encode_name: sample(f.type, f.encode_name) for f in node.fields if f.required}
    raise AssertionError(f"{name}: no sample for {node}")


def fields(row: Command) -> dict[str, Any]:
    return {field.encode_name: field for field in msgspec.inspect.type_info(row.params).fields}  # type: ignore[union-attr]


def plain(row: Command) -> dict[str, Any]:
    """The required parameters, each with some value."""
    return {name: sample(field.type, name) for name, field in fields(row).items() if field.required}


def named(row: Command, things: Things) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """For each parameter that names something: the command with everything that it could name, real and made up."""
    for name in (*NAMES, *BESIDES):
        if name in fields(row):
            rest = plain(row)
            for other in NAMES:
                if other in rest and other != name:
                    rest[other] = things.own.get(other, "x")
            yield name, [{**rest, name: value} for value in (*things.others.get(name, ()), MADE_UP)]


#: One after the other with different tokens they would be told apart by the rate, and end the connection.
NOT_TRIED = {"session.authenticate", "session.refresh"}


@pytest.fixture(params=DOORS)
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[HereServer]:
    limits = ("conversations_per_min", "guest_messages_per_s", "messages_per_s", "bad_tokens_per_s", "ping_interval")
    async with serving(tmp_path / "data", **{f"limits__{name}": 0 for name in limits}) as server:
        server.door = request.param
        yield server


async def begin(server: HereServer, **said: Any) -> dict[str, Any]:
    async with httpx2.AsyncClient() as http:
        answer: dict[str, Any] = (await http.post(f"{server.url}/conversations", json=said)).json()
    return answer


async def furnished(server: HereServer) -> tuple[dict[str, Any], Things]:
    """A guest, and what there is beside it: rooms of every kind, messages in them, people, sessions."""
    store = server.store
    store.execute(accounts.Create("ava", hash_password("ava"), ["agent"]))
    ava = store.execute(accounts.Find("ava")).reply.id
    own, other = await begin(server, message="mine"), await begin(server, name="Other", message="theirs")
    async with httpx2.AsyncClient() as http:
        login = await http.post(f"{server.url}/auth/login", json={"username": "ava", "password": "ava"})
        store.execute(rooms.Create("hall"), OPERATOR)
        store.execute(rooms.Create("den", visibility="private"), OPERATOR)
        said: list[str] = []
        theirs = other["conversation"]["id"]
        mine = own["conversation"]["id"]
        store.execute(members.Invite("hall", ava))
        headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
        for room in ("hall", theirs, f"{theirs}.notes", f"{mine}.notes"):
            call = {"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"room": room, "text": "secret"}}
            said.append(
                (await http.post(f"{server.url}/rpc", json=call, headers=headers)).json()["result"]["message"]["id"]
            )
        made = [
            {"jsonrpc": "2.0", "id": id, "method": "stream.create", "params": {"stream": id, "visibility": visibility}}
            for id, visibility in (("radio", "public"), ("crew", "members"))
        ]
        streams = (await http.post(f"{server.url}/rpc", json=made, headers=headers)).json()
        assert all("result" in one for one in streams), streams
        describe = {"jsonrpc": "2.0", "id": 1, "method": "session.describe"}
        session = (await http.post(f"{server.url}/rpc", json=describe, headers=headers)).json()["result"]["session"]
    department: Any = store.execute(departments.Create(name="Sales"), OPERATOR).reply["department"]
    reply: Any = store.execute(replies.Create(shortcut="hi", text="secret"), OPERATOR).reply["reply"]
    all_rooms = [theirs, f"{theirs}.notes", f"{mine}.notes", "queue", "hall", "den", "s-radio", "s-crew"]
    return own, Things(
        own={"room": mine, "conversation": mine, "subject": own["conversation"]["visitor"]["subject"]},
        others={
            "room": all_rooms,
            "conversation": all_rooms,
            "message": said,
            "stream": ["radio", "crew"],
            "subject": [ava, other["conversation"]["visitor"]["subject"], "operator"],
            "session": [session],
            "token_id": [session],
            "account": [ava, "ava"],
            "agent": [ava, "ava"],
            "department": [department.id, "Sales"],
            "reply": [reply.id],
        },
    )


async def answer_to(client: NativeClient, method: str, params: dict[str, Any]) -> tuple[str, str, int]:
    """Code, words and status of the refusal; a result fails."""
    try:
        result = await client.call(method, **params)
    except CommandRefused as refused:
        data = {name: value for name, value in refused.data.items() if name != "code"}
        return refused.code, f"{refused} {data}", refused.status
    raise AssertionError(f"{method} {params} gave {result}")


async def test_it_gets_nothing_but_its_own_and_learns_of_nothing_else(server: HereServer) -> None:
    guest, things = await furnished(server)
    tried: dict[str, set[str]] = {}
    async with server.client(guest["access_token"]) as client:
        for name, row in COMMANDS.items():
            if name in NOT_TRIED:
                continue
            names_something = False
            for parameter, variants in named(row, things):
                names_something = True
                answers = [await answer_to(client, name, variant) for variant in variants]
                assert len(set(answers)) == 1, f"{name}({parameter}) tells what exists: {set(answers)}"
                ((code, _, _),) = set(answers)
                # Who makes a thing chooses an id, and names nothing.
                makes = row.makes or name == "room.create"
                names_others = parameter in NAMES and (row.visitor or row.names is not None) and not makes
                assert code == ("not_found" if names_others else "forbidden"), f"{name}({parameter}): {code}"
                tried.setdefault(name, set()).add(parameter)
            if not names_something and not row.visitor:
                code, _, _ = await answer_to(client, name, plain(row))
                assert code == "forbidden", f"{name}: {code}"
                tried[name] = set()
        left = {name for name, row in COMMANDS.items() if name not in tried and not row.visitor}
        assert not left, "every command that is not marked for visitors was tried"
        assert await client.call("conversation.get", conversation=things.own["conversation"])


async def test_what_it_may_do_in_its_own_it_does(server: HereServer) -> None:
    guest, things = await furnished(server)
    room = things.own["room"]
    async with server.client(guest["access_token"]) as client:
        sent = (await client.call("message.send", room=room, text="hello"))["message"]
        await client.call("message.edit", message=sent["id"], text="hello!")
        await client.call("receipt.mark", room=room, seq=sent["seq"])
        await client.call("typing.set", room=room, active=True)
        for method in ("room.get", "room.members", "message.list", "receipt.list", "presence.list", "room.subscribe"):
            assert await client.call(method, room=room)
        assert [await client.call("room.unsubscribe", room=room) for _ in range(2)] == [{}, {}]
        assert await client.call("event.list", room=room, after=0)
        assert await client.call("message.get", message=sent["id"])
        for method, more in (
            ("get", {}),
            ("update", {"name": "Vi"}),
            ("export", {"format": "text"}),
            ("rate", {"score": 5}),
            ("close", {}),
        ):
            assert await client.call(f"conversation.{method}", conversation=room, **more)
        assert (await client.call("session.list"))["sessions"][0]["subject"] == things.own["subject"]
        for method in ("claim", "reopen", "block", "unblock"):
            assert (await answer_to(client, f"conversation.{method}", {"conversation": room}))[0] == "forbidden"
        for method in ("join", "leave", "archive", "update"):
            assert (await answer_to(client, f"room.{method}", {"room": room}))[0] == "forbidden"
        assert (await answer_to(client, "message.delete", {"message": sent["id"]}))[0] == "forbidden"


async def test_a_reply_to_somebody_elses_message_is_to_none(server: HereServer) -> None:
    guest, things = await furnished(server)
    async with server.client(guest["access_token"]) as client:
        asked = [
            {"room": things.own["room"], "text": "x", "reply_to": one} for one in (*things.others["message"], MADE_UP)
        ]
        answers = {await answer_to(client, "message.send", params) for params in asked}
    assert len(answers) == 1
    assert {code for code, _, _ in answers} == {"invalid_params"}


async def test_over_rpc_it_is_the_same(tmp_path: Path) -> None:
    """One batch for each command: everything it could name."""
    limits = {"limits__conversations_per_min": 0, "limits__guest_messages_per_s": 0}
    async with serving(tmp_path / "data", **limits) as server, httpx2.AsyncClient() as http:
        guest, things = await furnished(server)
        headers = {"Authorization": f"Bearer {guest['access_token']}"}
        for name, row in COMMANDS.items():
            for parameter, variants in named(row, things):
                batch = [
                    {"jsonrpc": "2.0", "id": number, "method": name, "params": variant}
                    for number, variant in zip(itertools.count(), variants, strict=False)
                ]
                got = (await http.post(f"{server.url}/rpc", json=batch, headers=headers)).json()
                told = {msgspec.json.encode(one.get("error", one)) for one in got}
                assert len(told) == 1, f"{name}({parameter}) tells what exists: {told}"


async def test_over_graphql_by_http_it_is_the_same(tmp_path: Path) -> None:
    """Every operation of the schema that a guest's token could be used for, with everything it could name."""
    limits = {"limits__conversations_per_min": 0, "limits__guest_messages_per_s": 0}
    async with serving(tmp_path / "data", **limits) as server, httpx2.AsyncClient() as http:
        guest, things = await furnished(server)
        headers = {"Authorization": f"Bearer {guest['access_token']}"}
        tried = 0
        for root in ROOTS.values():
            if root.row is None or root.kind == "subscription" or root.row.name in NOT_TRIED:
                continue
            for parameter, variants in named(root.row, things):
                told = set()
                for variant in variants:
                    document, variables = document_of(root, variant)
                    asked = {"query": document, "variables": variables}
                    answer = (await http.post(f"{server.url}/graphql", json=asked, headers=headers)).json()
                    assert not any((answer.get("data") or {}).values()), f"{root.name}({parameter}) gave {answer}"
                    told.add(json.dumps([[one["message"], one["extensions"]] for one in answer["errors"]]))
                assert len(told) == 1, f"{root.name}({parameter}) tells what exists: {told}"
                tried += 1
        assert tried > 40
