"""Hostile clients of Engine.IO and Socket.IO, made up at random, and the only endings that they may meet.

    python -m fuzz.socketio --seconds 10 --seed 1

First the codecs alone, then a real server in this process, whose every session is driven over polls, WebSockets and
upgrades with packets that are right, nearly right, and wrong. Fails on an answer or a close code that is not allowed,
on a session that is left behind, on anything logged as an error, and where a well-behaved client is not served
meanwhile. The seed says what is sent, in which order by each of the clients.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
import websockets
from tests.here import HereServer, serving, until
from tests.socketio import socketio
from tests.transport.http_wire import Http
from websockets.asyncio.client import connect

from fuzz.command import main, no_error_logged
from parley.dialects import engineio
from parley.dialects.dialect import Ended
from parley.dialects.socketio import SocketIo
from parley.domain.errors import Refusal
from parley.domain.sessions import SessionView

STATUSES = {200, 400, 413}
#: 1000: left; 1001: silent; 1002, 1007, 1009: RFC 6455; 4400: broke the protocol; 4401, 4408: did not sign in.
CODES = {1000, 1001, 1002, 1007, 1009, 4400, 4401, 4408, None}
ENDED = {1000, 4400}
WAYS = ("polling", "websocket", "upgrade")

SESSION = SessionView("ada", "account", "Ada", ["member"], "s1", "c1", "2026-01-01T00:00:00.000Z", "…")
WORDS = [
    b'["session.describe"]', b'["room.get",{"room":"den"}]', b'["message.send",{"room":"den","text":"hi"}]',
    b'["room.subscribe",{"room":"den"}]', b'["typing.set",{"room":"den","active":true}]', b'["nothing",1,2,3]',
    b'["x",{"_placeholder":true,"num":0}]', b'["connect"]', b"[]", b"{}", b"[1]", b"[null]", b'"x"', b"null",
    b'["message.send",{"room":"den","text":"\\ud800"}]', b'["message.send",{"room":"den","text":"a\\u0000b"}]',
    b"[" * 40, b"[" * 33 + b"]" * 33, b'["x",NaN]', b'["x",1e999]', b"", b"\xff", "[\"é\"]".encode(),
]  # fmt: skip


class Sender:
    """Makes up what a client sends."""

    def __init__(self, chance: random.Random, token: bytes) -> None:
        self._chance = chance
        self.connect = b'0{"token":"' + token + b'"}'
        self._connects = [b"0", self.connect, b'0{"token":1}', b"0{}", b"0[]", b"0/rooms,"]

    def content(self) -> bytes:
        """The content of a message packet."""
        chance = self._chance
        kind = chance.choice([b"0", b"1", b"2", b"2", b"2", b"2", b"3", b"4", b"5", b"6", b"7", b""])
        if kind == b"0":
            return chance.choice(self._connects)
        count = (
            chance.choice([b"", b"1-", b"2-", b"0-", b"11-", b"9" * 40 + b"-", b"-"]) if kind in (b"5", b"6") else b""
        )
        where = chance.choice([b"", b"", b"", b"", b"/rooms,", b"/", b"/a"])
        number = chance.choice([b"", b"1", b"12", b"9" * 30, b"x"])
        return self.mutated(kind + count + where + number + chance.choice(WORDS), 0.05)

    def packet(self) -> bytes:
        chance = self._chance
        roll = chance.random()
        if roll < 0.7:
            return b"4" + self.content()
        if roll < 0.8:
            return b"b" + chance.choice([b"AQID", b"AQ==", b"AQ", b"*", b""])
        return chance.choice([b"3", b"3", b"6", b"1", b"2", b"5", b"0", b"7", b"2probe", b"3probe", b"", b"\x00"])

    def payload(self) -> bytes:
        chance = self._chance
        size = chance.choice([1, 1, 1, 2, 3, 10, 5000 if chance.random() < 0.05 else 1])
        return self.mutated(b"\x1e".join(self.packet() for _ in range(size)), 0.1)

    def mutated(self, data: bytes, likely: float) -> bytes:
        chance = self._chance
        if chance.random() > likely or not data:
            return data
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
            case 1:
                return data[:at] + data[at + 1 :]
            case 2:
                return data[:at]
            case _:
                return data[:at] + data[at:] * chance.choice([2, 3, 50])


# --- the codecs alone -------------------------------------------------------------------------------------------------


def codecs(chance: random.Random, seconds: float) -> Counter[str]:
    """Feeds the codecs and nothing else; whatever they raise but `Ended` ends the run."""
    sender, seen = Sender(chance, b"t"), Counter[str]()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        codec = SocketIo(1000)
        if chance.random() < 0.7:
            codec.result(codec.receive(b"0")[0], SESSION)
        try:
            while True:
                for packet in engineio.decode_payload(sender.payload()):
                    if packet.kind != engineio.MESSAGE:
                        continue
                    if not packet.is_binary:
                        packet.data.decode()  # as a WebSocket and a payload have checked
                    receive = codec.receive_binary if packet.is_binary else codec.receive
                    for request in receive(packet.data):
                        answer = codec.refused(request, request.refusal or Refusal("internal"))
                        if request.greeting is not None:
                            answer = codec.result(request, SESSION)
                        seen["refused" if request.refusal else "taken"] += 1
                        assert answer is None or answer.startswith((b"40", b"43", b"44")), answer
        except Ended as ended:
            if ended.code not in ENDED:
                raise
            seen[f"ended {ended.code}"] += 1
    return seen


# --- a real server ----------------------------------------------------------------------------------------------------


class Hostile:
    """One client after another, each with its own chance."""

    def __init__(self, server: HereServer, chance: random.Random, seen: Counter[str]) -> None:
        self._server = server
        self._chance = chance
        self._sender = Sender(chance, server.token("ada").encode())
        self._seen = seen
        self._port = int(server.url.rpartition(":")[2])
        self._path = "/socket.io/?EIO=4&transport="

    async def run(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            way = self._chance.choice(WAYS)
            try:
                if way == "websocket":
                    await self._on_a_socket(self._path + "websocket")
                else:
                    await self._over_http(upgrades=way == "upgrade")
            except (ConnectionError, AssertionError, EOFError) as ended:
                if isinstance(ended, AssertionError) and "cut short" not in str(ended):
                    raise
                self._seen["hung up"] += 1

    async def _on_a_socket(self, path: str, first: tuple[str, ...] = ()) -> None:
        sender, chance = self._sender, self._chance
        try:
            async with connect(
                self._server.url.replace("http", "ws") + path, open_timeout=5, close_timeout=1, max_size=None
            ) as socket:
                for said in first:
                    await socket.send(said)
                if chance.random() < 0.7:
                    await socket.send("4" + sender.connect.decode())
                for _ in range(chance.randrange(1, 12)):
                    if chance.random() < 0.15:
                        await socket.send(chance.randbytes(chance.choice([0, 1, 100, 140_000])))
                    else:
                        await socket.send(sender.packet().decode("utf-8", "replace"))
                if chance.random() < 0.3:
                    socket.transport.abort()
                elif chance.random() < 0.5:
                    await asyncio.wait_for(socket.wait_closed(), 1)
        except websockets.InvalidStatus as refused:
            self._note(refused.response.status_code)
            return
        except (websockets.ConnectionClosed, TimeoutError):
            pass
        protocol = socket.protocol
        first_by_server = protocol.close_rcvd is not None and protocol.close_rcvd_then_sent is not False
        code = protocol.close_rcvd.code if protocol.close_rcvd is not None and first_by_server else None
        assert code in CODES, code
        self._seen[f"closed {code}"] += 1

    async def _over_http(self, *, upgrades: bool) -> None:
        chance = self._chance
        async with _http(self._port) as polls, _http(self._port) as posts:
            opened = json.loads((await polls.ask("GET", self._path + "polling")).text[1:])
            query = f"{self._path}polling&sid={opened['sid']}"
            if chance.random() < 0.7:
                self._note((await posts.ask("POST", query, b"4" + self._sender.connect)).status)
                self._note((await polls.ask("GET", query)).status)
            for _ in range(chance.randrange(1, 10)):
                roll = chance.random()
                if roll < 0.15:
                    await polls.send(f"GET {query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    if chance.random() < 0.5:
                        return  # a poll that is cancelled
                    answer = await posts.ask("GET", query)  # two at once
                elif roll < 0.3:
                    await posts.ask("POST", query, b"43[]")
                    answer = await posts.ask(chance.choice(["PUT", "GET", "DELETE", "POST"]), query + "0", b"")
                elif roll < 0.35:
                    answer = await posts.ask("POST", query, b"4" * 140_000)
                else:
                    answer = await posts.ask("POST", query, self._sender.payload())
                self._note(answer.status)
            if upgrades:
                first = chance.choice([("2probe",), ("2probe", "5"), ("5",), ("2probe", "2probe"), ("x",)])
                path = f"{self._path}websocket&sid={opened['sid']}"
                await asyncio.gather(*(self._on_a_socket(path, first) for _ in range(chance.choice([1, 1, 2]))))
            if chance.random() < 0.7:
                self._note((await posts.ask("POST", query, b"1")).status)

    def _note(self, status: int) -> None:
        assert status in STATUSES, status
        self._seen[f"answered {status}"] += 1


@asynccontextmanager
async def _http(port: int) -> AsyncIterator[Http]:
    async with await Http.connect(port) as http:
        yield http  # type: ignore[misc]


async def live(chance: random.Random, seconds: float) -> Counter[str]:
    seen = Counter[str]()
    with no_error_logged(), tempfile.TemporaryDirectory() as folder:
        async with (
            serving(
                Path(folder) / "data",
                limits__messages_per_s=0,
                limits__connections=0,
                limits__pending_per_address=0,
                limits__bad_tokens_per_s=0,
                limits__auth_timeout=1,
                limits__ping_interval=2,
                limits__ping_timeout=1,
            ) as server,
            socketio(server.url, server.token("ben")) as ben,
            asyncio.TaskGroup() as group,
        ):
            await ben.call("room.create", room="den")
            until_s = time.monotonic() + seconds
            hostile = [Hostile(server, random.Random(chance.random()), seen) for _ in range(4)]
            tasks = [group.create_task(one.run(until_s)) for one in hostile]
            while not all(task.done() for task in tasks):
                assert (await ben.call("session.describe"))["subject"] == "ben"
                await asyncio.sleep(0.05)
            # Those who said nothing any more are gone when their pings were not answered.
            await until(lambda: len(server.server.front.engine.sessions) == 1)
            assert len(list(server.server.parts.connections)) == 1
            assert server.server.parts.connections.pending == 0
    return seen


def run(seconds: float, seed: int) -> dict[str, Counter[str]]:
    """What was seen, by target. Raises: AssertionError, or whatever a target raises that it must not."""
    chance = random.Random(seed)
    return {
        "codecs": codecs(random.Random(chance.random()), seconds * 0.2),
        "live": uvloop.run(live(random.Random(chance.random()), seconds * 0.8)),
    }


if __name__ == "__main__":
    sys.exit(main(__doc__, run))
