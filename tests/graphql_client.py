"""A plain `graphql-transport-ws` client of our own, with the face of `NativeClient`: a story is told to it unchanged.

Speaks the protocol in `send`, `operation` and `answer`; everything behind `call` translates a command into GraphQL's
spelling and its answer back into the native one, close codes included. Does not reconnect: npm's client does.
"""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets
from graphql import GraphQLObjectType, get_named_type
from websockets.asyncio.client import ClientConnection, connect

from parley.dialects.graphql_schema import MEMBER, ROOTS, Root, camel, schema
from parley.domain.commands import COMMANDS
from tests.serving import PATIENCE_S, CommandRefused, NativeClient

PROTOCOL = "graphql-transport-ws"
EVENT = "room epoch seq type at actor { subject name type } message { id } data"
SIGNAL = "room type at data"
NOTICE = "type expiresAt roles code reason reconnect"


class GraphqlClient(NativeClient):
    """`news` are what the server says by itself, as the native dialect has it; `told` is each message as it came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.news = []
        self.told: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._readings: dict[str, str] = {}  # id -> room
        self._came = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    # --- the protocol ---

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def init(self, payload: Any = None) -> None:
        """`connection_init`, answered. Raises: AssertionError where it ends the connection."""
        await self.send(type="connection_init", **({} if payload is None else {"payload": payload}))
        await self.message("connection_ack")

    async def begin(self, document: str, id: str | None = None, /, **variables: Any) -> str:
        """Begin an operation; its id."""
        id = id or str(next(self._ids))
        await self.send(type="subscribe", id=id, payload={"query": document, "variables": variables})
        return id

    async def operation(self, document: str, /, **variables: Any) -> dict[str, Any]:
        """A query or a mutation; its answer, `{data, errors}`."""
        id = str(next(self._ids))
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        await self.begin(document, id, **variables)
        return await asyncio.wait_for(answer, PATIENCE_S)

    async def message(self, kind: str, id: str | None = None, *, after: int = 0) -> dict[str, Any]:
        """The first message of a type, and of an id, behind the first `after`, come or still to come."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for one in self.told[after:]:
                    if one["type"] == kind and id in (None, one.get("id")):
                        return one
                if self._reading.done():
                    raise AssertionError(
                        f"closed with {self.socket.close_code} {self.socket.close_reason}: {self.told}"
                    )
                self._came.clear()
                await self._came.wait()

    async def ask(self, payload: bytes) -> asyncio.Future[dict[str, Any]]:
        """Begin an operation with this payload, be it what it will; its answer, cancelled where the connection ends."""
        id = str(next(self._ids))
        answer = self._waiting[id] = asyncio.get_running_loop().create_future()
        await self.socket.send(b'{"id":"%b","type":"subscribe","payload":%b}' % (id.encode(), payload), text=True)
        return answer

    def payloads(self, id: str) -> list[Any]:
        return [one["payload"] for one in self.told if one["type"] == "next" and one["id"] == id]

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                message = json.loads(text)
                self.told.append(message)
                self._take(message)
                self._came.set()
        except websockets.ConnectionClosed:
            pass
        finally:
            self._came.set()
            for answer in self._waiting.values():
                answer.cancel()

    def _take(self, message: dict[str, Any]) -> None:
        id, payload = message.get("id"), message.get("payload")
        match message["type"]:
            case "next" if id in self._waiting:
                self._waiting.pop(id).set_result(payload)
            case "next":
                for name, value in (payload["data"] or {}).items():
                    self._hear(name, value)
            case "error" if id in self._waiting:
                self._waiting.pop(id).set_result({"data": None, "errors": payload})
            case "error" if id in self._readings:
                room = self._readings.pop(id)
                extensions = payload[0]["extensions"]
                if "reason" in extensions and room not in self._readings.values():
                    self._say("subscription.ended", {"room": room, "reason": extensions["reason"]})
            case "ping":
                self._say("ping", {})

    def _hear(self, name: str, value: Any) -> None:
        if name == "roomEvents":
            self._say("event", {k: v for k, v in value.items() if k not in ("epoch", "message")})
        elif name == "roomSignals":
            self._say("signal", value)
        elif name == "sessionNotices":
            told = {snake(k): v for k, v in value.items() if v is not None and k != "type"}
            self._say(f"session.{value['type']}", told)

    def _say(self, method: str, params: Any) -> None:
        self.news.append({"jsonrpc": "2.0", "method": method, "params": params})

    # --- the face ---

    async def call(self, method: str, **params: Any) -> Any:
        if method == "room.subscribe":
            return await self._subscribe(**params)
        if method == "room.unsubscribe":
            await self._unsubscribe(params["room"])
            await self.call("room.get", room=params["room"])  # ending what never was is answered to nobody here
            return {}
        root = next((root for root in ROOTS.values() if root.row is COMMANDS.get(method)), None)
        if root is None or root.kind == "subscription":
            noun, _, verb = method.partition(".")
            return _result(await self.operation(f"mutation {{ {camel(verb)}{noun.capitalize()} }}"), None)
        document, variables = document_of(root, params)
        return _result(await self.operation(document, **variables), root)

    async def _subscribe(self, room: str, after: int | None = None, epoch: str | None = None) -> dict[str, Any]:
        await self._unsubscribe(room)
        document = (
            "subscription($room: ID!, $after: Int, $epoch: String) "
            f"{{ roomEvents(room: $room, after: $after, epoch: $epoch) {{ {EVENT} }} }}"
        )
        id, signals = str(next(self._ids)), str(next(self._ids))
        self._readings |= {id: room, signals: room}
        here = len(self.news)
        await self.begin(document, id, room=room, after=after, epoch=epoch)
        await self.begin(f"subscription($room: ID!) {{ roomSignals(room: $room) {{ {SIGNAL} }} }}", signals, room=room)
        # Nothing says that a subscription is live. A write of this connection waits for what was asked before it.
        await self.operation('mutation { leaveRoom(room: "there.is.no.such.room") { room } }')
        failed = next((one for one in self.told if one["type"] == "error" and one["id"] == id), None)
        if failed is not None:
            await self._unsubscribe(room)
            if not failed["payload"][0]["extensions"].get("reset"):
                _result({"errors": failed["payload"]}, None)
            return await self._reset(room)
        state = (await self.call("room.get", room=room))["room"]
        events: list[Any] = []
        if after is not None:
            await self.until(lambda one: state["seq"] <= after or _is_event(one, room, state["seq"]))
            events = [one["params"] for one in self.news[here:] if _is_event(one, room)]
            events = [event for event in events if event["seq"] <= state["seq"]]
            self.news = [one for one in self.news if one.get("params") not in events]
        return {
            "room": room,
            "epoch": state["epoch"],
            "seq": state["seq"],
            "events": events,
            "complete": True,
            "reset": False,
        }

    async def _reset(self, room: str) -> dict[str, Any]:
        """What a client does who is told that it holds another log."""
        live = await self._subscribe(room)
        page = await self.call("event.list", room=room, after=max(0, live["seq"] - 1000))
        return {**live, "events": page["events"], "reset": True}

    async def _unsubscribe(self, room: str) -> None:
        for id in [id for id, one in self._readings.items() if one == room]:
            del self._readings[id]
            await self.send(type="complete", id=id)

    async def closed(self) -> tuple[int | None, str | None]:
        """As the native dialect would have closed it."""
        code, reason = await super().closed()
        if code == 4403:
            return 4401, reason
        if code == 4401 and not (reason or "").startswith("token_"):
            return 4403, reason
        return code, reason


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _is_event(one: dict[str, Any], room: str, seq: int | None = None) -> bool:
    params = one.get("params", {})
    return one.get("method") == "event" and params["room"] == room and seq in (None, params["seq"])


# --- from a command to GraphQL, and back -----------------------------------------------------------------------------


def selection(kind: Any) -> str:
    """All that a type has."""
    named = get_named_type(kind)
    if not isinstance(named, GraphQLObjectType):
        return ""
    return " {" + " ".join(name + selection(field.type) for name, field in named.fields.items()) + "}"


def document_of(root: Root, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    parent = schema().query_type if root.kind == "query" else schema().mutation_type
    assert parent is not None
    field = parent.fields[root.name]
    arguments = {parameter: argument for argument, parameter in root.parameters.items()}
    given = {arguments.get(name, camel(name)): value for name, value in params.items()}
    known = [name for name in given if name in field.args]
    declared = ", ".join(f"${name}: {field.args[name].type}" for name in known)
    passed = ", ".join(f"{name}: ${name}" if name in known else f"{name}: null" for name in given)
    operation = f"{root.kind} A{f'({declared})' if declared else ''}"
    body = f"{root.name}{f'({passed})' if passed else ''}{selection(field.type)}"
    return f"{operation} {{ {body} }}", {name: given[name] for name in known}


def _result(answer: dict[str, Any], root: Root | None) -> Any:
    """The result as the native dialect has it. Raises: CommandRefused."""
    if answer.get("errors"):
        error = answer["errors"][0]
        data = dict(error["extensions"])
        if root is not None and "field" in data:
            data["field"] = root.parameters.get(data["field"], data["field"])
        raise CommandRefused({"message": error["message"], "data": data})
    assert root is not None
    parent = schema().query_type if root.kind == "query" else schema().mutation_type
    assert parent is not None
    value = _native(answer["data"][root.name], parent.fields[root.name].type)
    if root.is_empty:
        return {}
    return {root.member: value} if root.member is not None else value


def _native(value: Any, kind: Any) -> Any:
    named = get_named_type(kind)
    if isinstance(value, list) and isinstance(named, GraphQLObjectType):
        return [_native(one, named) for one in value]
    if not isinstance(value, dict) or not isinstance(named, GraphQLObjectType):
        return value
    made = {}
    for name, inner in value.items():
        if named.name == "Message" and (inner is None or (name == "deleted" and not inner)):
            continue
        if named.name == "Event" and name in ("epoch", "message"):
            continue
        if inner is None and name in ("preview", "attended", "count", "mayPublish"):
            continue
        made[named.fields[name].extensions.get(MEMBER, name)] = _native(inner, named.fields[name].type)
    return made


@asynccontextmanager
async def graphql(
    url: str, token: str | None = None, *, payload: Any = None, notices: bool = True, **options: Any
) -> AsyncIterator[GraphqlClient]:
    """A client that has begun, its token as subprotocol unless `payload` brings one; told of its session's news."""
    protocols = [PROTOCOL] + ([f"bearer.{token}"] if token is not None else [])
    async with connect(
        f"{url.replace('http', 'ws', 1)}/graphql", subprotocols=protocols, max_size=None, **options
    ) as socket:  # type: ignore[list-item]
        client = GraphqlClient(socket)
        with suppress(websockets.ConnectionClosed):  # as a native one that is closed at once, it can be asked why
            await client.send(type="connection_init", **({} if payload is None else {"payload": payload}))
            if notices:
                await client.begin(f"subscription {{ sessionNotices {{ {NOTICE} }} }}", "notices")
        yield client
