"""Hostile clients of GraphQL, made up at random: documents, requests, messages that are right, nearly right, and wrong.

    python -m fuzz.graphql --seconds 10 --seed 1

First the codec alone, then a real server in this process, over sockets and HTTP. Fails on whatever is raised but the
end of a connection, on an answer without a known code, on a value that is told back, on a message that takes long, on
anything logged as an error, and where a well-behaved client is not served meanwhile. The seed says what is sent.
"""

import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import uvloop
import websockets
from graphql import GraphQLObjectType, get_named_type
from tests.graphql_client import PROTOCOL, graphql
from tests.here import HereServer, serving
from websockets.asyncio.client import connect

from fuzz.command import main, no_error_logged
from parley.dialects.dialect import Ended
from parley.dialects.graphql_documents import Documents
from parley.dialects.graphql_schema import schema
from parley.dialects.graphql_transport_ws import GraphqlTransportWs
from parley.domain.errors import REFUSALS, Refusal

#: Stands where a client may put what nobody else should read; no error may tell it.
SECRET = "hunter2-is-no-password"
CPU_S_MAX = 1.0
CLOSES = {1000, 1005, 1006, 1007, 1009, 4400, 4401, 4409, 4429}
STATUSES = {200, 400, 405, 413, 415}
LITERALS = ["1", "-1", "1e999", "9007199254740993", "true", "null", "ENUM", "[]", "{}", "$v", "$none", f'"{SECRET}"']
LITERALS += [f'["{SECRET}"]', f'{{a: "{SECRET}"}}', '"den"', '"\\u0000"', '"""den"""', '"\\uD800"']
VALUES: list[Any] = [None, 1, -1, 1.5, 2**60, True, SECRET, "den", [SECRET], {"a": SECRET}, "\0", "\ud800", [[[1]]]]
PIECES = re.compile(r'"""|"[^"]*"|\w+|\$|\S|\s+')


class Sender:
    """Makes up what a client sends."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def document(self) -> str:
        """One that follows the grammar, and much of the schema."""
        chance = self._chance
        kind = chance.choice(["query", "query", "mutation", "subscription"])
        root = schema().type_map[kind.capitalize()]
        fragment = (
            f" fragment F on Room {self._selection(schema().type_map['Room'], 2)}" if chance.random() < 0.2 else ""
        )
        variables = chance.choice(["", "", "($v: Int)", "($v: ID!)", '($v: JSON, $w: String = "x")', "($v: Nothing)"])
        return (
            f"{kind} {chance.choice(['', 'A'])}{variables} {self._selection(root, chance.choice([2, 3, 5]))}{fragment}"
        )

    def _selection(self, kind: Any, depth: int) -> str:
        chance = self._chance
        names = chance.choices([*kind.fields, "__typename"], k=chance.choice([1, 1, 2, 5, 30 if depth == 2 else 3]))
        return "{" + " ".join(self._field(kind, name, depth) for name in names) + "}"

    def _field(self, kind: Any, name: str, depth: int) -> str:
        chance = self._chance
        alias = chance.choice(["", "", "", "a: ", "b: "])
        directive = chance.choice([""] * 40 + [" @include(if: $v)", " @skip(if: false)", " @nothing"])
        if name == "__typename":
            return f"{alias}{name}{directive}"
        field = kind.fields[name]
        given = [one for one in field.args if chance.random() < (0.97 if str(field.args[one].type)[-1] == "!" else 0.4)]
        given += ["nothing"] if chance.random() < 0.01 else []
        arguments = ", ".join(f"{one}: {self._literal(field.args.get(one))}" for one in given)
        inner = get_named_type(field.type)
        selection = ""
        if isinstance(inner, GraphQLObjectType) and chance.random() < 0.97:
            selection = (
                " " + self._selection(inner, depth - 1)
                if depth > 1
                else chance.choice([" {__typename}"] * 9 + [" {...F}"])
            )
        return f"{alias}{name}{f'({arguments})' if arguments else ''}{directive}{selection}"

    def _literal(self, argument: Any) -> str:
        right = {"ID": '"den"', "String": f'"{SECRET}"', "Int": "1", "Boolean": "true", "JSON": f'{{a: "{SECRET}"}}'}
        named = str(get_named_type(argument.type)) if argument is not None else ""
        likely = (
            f"[{right.get(named, '1')}]" if "[" in str(argument.type if argument else "") else right.get(named, "1")
        )
        return likely if self._chance.random() < 0.9 else self._chance.choice(LITERALS)

    def broken(self, document: str) -> str:
        """The same with some of its pieces away, twice, changed places, or something else."""
        chance = self._chance
        pieces = PIECES.findall(document)
        for _ in range(chance.randrange(1, 4)):
            at, other = chance.randrange(len(pieces)), chance.randrange(len(pieces))
            match chance.randrange(5):
                case 0:
                    pieces[at] = ""
                case 1:
                    pieces[at] *= chance.choice([2, 50, 2000])
                case 2:
                    pieces[at], pieces[other] = pieces[other], pieces[at]
                case 3:
                    pieces[at] = chance.choice(["{", "}", "...", '"', "#", "@", "é", "\x00", "0x", "&", "fragment"])
                case 4:
                    return "".join(pieces[:at])
        return "".join(pieces)

    def request(self) -> tuple[dict[str, Any], bool]:
        """A request, and whether what is secret in it can only be a value."""
        chance = self._chance
        document, is_whole = self.document(), chance.random() < 0.6
        asked: dict[str, Any] = {"query": document if is_whole else self.broken(document)}
        if chance.random() < 0.2:
            asked["variables"] = {name: chance.choice(VALUES) for name in chance.choices("vwx", k=2)}
        if chance.random() < 0.02:
            asked[chance.choice(["operationName", "variables", "extensions", "query"])] = chance.choice(VALUES)
        return asked, is_whole and asked["query"] == document

    def message(self) -> tuple[str, bool]:
        chance = self._chance
        payload, is_whole = self.request()
        kind = chance.choice(
            ["subscribe"] * 100 + ["complete"] * 30 + ["ping", "pong"] * 5 + ["connection_init", "next"]
        )
        said: dict[str, Any] = {
            "type": kind,
            "id": chance.choice(["1", "2", *[str(chance.random())] * 20]),
            "payload": payload,
        }
        if chance.random() < 0.01:
            said[chance.choice(["id", "type", "payload"])] = chance.choice(VALUES)
        text = json.dumps(said, ensure_ascii=chance.random() < 0.8 or "\ud800" in str(said))
        if chance.random() < 0.01:
            at = chance.randrange(len(text))
            return text[:at] + chance.choice(["", "\\", '"', "}", "]", "1e999"]) + text[at + 1 :], False
        return text, is_whole


def check(answer: bytes, is_whole: bool, seen: Counter[str]) -> None:
    """An answer on a socket or by HTTP: its errors have codes that are known, and tell no value."""
    told = json.loads(answer)
    errors = told["payload"] if told.get("type") == "error" else told.get("payload", told).get("errors", [])
    for error in errors:
        code = error["extensions"]["code"]
        assert code in REFUSALS, f"an unknown code: {answer!r}"
        assert code != "internal", f"an incident: {answer!r}"
        seen[code] += 1
        assert not is_whole or SECRET not in json.dumps(error), f"a value is told back: {answer!r}"
    if not errors:
        seen["carried out"] += 1


def codec(chance: random.Random, seconds: float) -> Counter[str]:
    """The codec alone; every command is refused, so only what it says itself is seen."""
    seen: Counter[str] = Counter()
    sender, documents, until_s = Sender(chance), Documents(), time.monotonic() + seconds
    while time.monotonic() < until_s:
        made = GraphqlTransportWs(documents)
        made.result(made.receive(b'{"type":"connection_init"}')[0], {})
        for _ in range(50):
            text, is_whole = sender.message()
            begun = time.process_time()
            try:
                requests = made.receive(text.encode("utf-8", "surrogatepass"))
            except Ended as ended:
                seen[f"ended {getattr(ended, 'own_code', ended.code)}"] += 1
                break
            for request in requests:
                if request.batch is not None and request.row is None and not request.batch.is_subscription:
                    said = None if request.method == "complete" else made.answer(request.batch)
                else:
                    said = made.refused(request, request.refusal or Refusal("forbidden"))
                if said is not None and not request.is_aside:
                    check(said, is_whole, seen)
                if request.batch is not None:
                    made.complete(request.batch)
            assert time.process_time() - begun < CPU_S_MAX, f"this takes long: {text!r}"
    return seen


async def _on_a_socket(server: HereServer, sender: Sender, token: str, until_s: float, seen: Counter[str]) -> None:
    while time.monotonic() < until_s:
        url = server.url.replace("http", "ws", 1) + "/graphql"
        async with connect(url, subprotocols=[PROTOCOL, f"bearer.{token}"], max_size=None) as socket:  # type: ignore[list-item]
            with suppress(websockets.ConnectionClosed):
                await socket.send('{"type":"connection_init"}')
                for _ in range(20):
                    await socket.send(sender.message()[0].encode("utf-8", "surrogatepass"), text=True)
                await socket.send('{"type":"subscribe","id":"last","payload":{"query":"{__typename}"}}')
                async for answer in socket:
                    if json.loads(answer)["type"] in ("next", "error"):
                        check(answer if isinstance(answer, bytes) else answer.encode(), False, seen)
                    if json.loads(answer).get("id") == "last":
                        break
            await socket.close()
            assert socket.close_code in CLOSES, f"closed {socket.close_code} {socket.close_reason}"
            seen[f"closed {socket.close_code}"] += 1


async def _by_http(server: HereServer, sender: Sender, token: str, until_s: float, seen: Counter[str]) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with httpx2.AsyncClient(base_url=server.url, verify=False, headers=headers, timeout=60) as http:
        while time.monotonic() < until_s:
            request, is_whole = sender.request()
            answer = await http.post("/graphql", content=json.dumps(request).encode())
            assert answer.status_code in STATUSES, f"{answer.status_code} to {request}"
            seen[f"answered {answer.status_code}"] += 1
            if "problem" not in answer.headers["content-type"]:
                check(answer.content, is_whole, seen)


async def live(chance: random.Random, seconds: float) -> Counter[str]:
    """A real server: hostile clients beside one that behaves."""
    seen: Counter[str] = Counter()
    limits = {"limits__messages_per_s": 0, "limits__ping_interval": 0, "limits__connections": 0}
    with no_error_logged(), tempfile.TemporaryDirectory() as folder:
        async with (
            serving(Path(folder) / "data", **limits) as server,
            graphql(server.url, server.token("ben")) as ben,
        ):
            await ben.operation('mutation { createRoom(room: "den") { id } }')
            until_s = time.monotonic() + seconds
            hostile = [
                asyncio.ensure_future(way(server, Sender(random.Random(chance.random())), token, until_s, seen))
                for way in (_on_a_socket, _on_a_socket, _by_http)
                for token in (server.token("mallory", roles=("admin",)),)
            ]
            while not all(one.done() for one in hostile):
                assert (await ben.operation("{ session { subject } }"))["data"] == {"session": {"subject": "ben"}}
                seen["behaved"] += 1
                await asyncio.sleep(0.01)
            await asyncio.gather(*hostile)
    return seen


def run(seconds: float, seed: int) -> dict[str, Counter[str]]:
    """What was met, by target. Raises: AssertionError."""
    chance = random.Random(seed)
    # Not asyncio's own loop: its transports may not be aborted once they were closed with bytes unsent (CPython 3.11),
    # as `websockets` does where a message is sent to a server that has closed.
    return {"codec": codec(chance, seconds / 2), "live": uvloop.run(live(chance, seconds / 2))}


if __name__ == "__main__":
    sys.exit(main(__doc__, run))
