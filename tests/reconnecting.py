"""People with a client of every kind, who speak and listen through whatever befalls the servers.

Each does what its protocol's page tells a client: it comes back by itself, resumes behind what it has heard, and sends
a message again with the same `client_id` until it is answered. Judges nothing: what each was told stands in its Person.
"""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import websockets
from websockets.asyncio.client import ClientConnection, connect

from parley import client
from tests.npm import need, node_modules
from tests.serving import die_with_parent

DRIVER = Path(__file__).with_suffix(".mjs")
ROOM = "lobby"
NPM = ("socket.io websocket", "socket.io polling", "graphql-ws")
KINDS = ("parley.client", "native", "rpc", *NPM)


@dataclass(frozen=True)
class Pace:
    """When who comes back, in milliseconds where it says so; without `graphql_ms` by graphql-ws's own rule."""

    restart_s: float = 5
    pace_ms: float = 100
    #: After a refusal that passes, an answer that did not come, a line that was lost.
    again_ms: float = 300
    connect_ms: float = 5000
    answer_ms: float = 5000
    graphql_ms: float | None = None
    #: Options of socket.io-client's Manager.
    socketio: dict[str, Any] = field(default_factory=dict)

    @property
    def client(self) -> client.Timing:
        return client.Timing(
            retry_s=0.1, retry_max_s=0.5, restart_s=self.restart_s, connect_s=2, silence_s=10, overloaded_s=0.3
        )


class Person:
    """One client and what it was told; `stubborn` comes back whatever it is told, until its token is refused."""

    def __init__(self, crowd: "Crowd", name: str, kind: str, token: str, stubborn: bool) -> None:
        self.name = name
        self.kind = kind
        self.token = token
        self.stubborn = stubborn
        self.crowd = crowd
        #: text -> seq, in the order of the answers
        self.acknowledged: dict[str, int] = {}
        self.seqs: list[int] = []
        #: what the server said no to, and was asked again, by code
        self.refusals: Counter[str] = Counter()
        #: how often no answer came
        self.doubts = 0
        #: from each line that was lost to the next news
        self.away_s: list[float] = []
        self.handed_at_s = 0.0
        self.is_out = False
        self.is_silent = False
        self._left_at_s: float | None = None

    def __repr__(self) -> str:
        return f"{self.name} ({self.kind})"

    @property
    def last(self) -> int:
        return self.seqs[-1] if self.seqs else 0

    def told(self, on: str, at_s: float, said: dict[str, Any]) -> None:
        match on:
            case "heard":
                if said["seq"] != self.last + 1:
                    self.crowd.wrong.append(f"{self} heard {said['seq']} after {self.last}")
                self.seqs.append(said["seq"])
                self.handed_at_s = at_s
                if self._left_at_s is not None:
                    self.away_s.append(at_s - self._left_at_s)
                    self._left_at_s = None
            case "acknowledged":
                self.acknowledged[said["text"]] = said["seq"]
            case "refused":
                self.refusals[said["code"]] += 1
            case "doubted":
                self.doubts += 1
            case "lost":
                if self._left_at_s is None:
                    self._left_at_s = at_s
            case "out":
                self.is_out = True
            case "silent":
                self.is_silent = True
            case _:
                self.crowd.wrong.append(f"{self}: {said}")
        self.crowd.changed.set()

    def tell(self, on: str, **said: Any) -> None:
        self.told(on, time.monotonic(), said)

    def heard(self, event: dict[str, Any]) -> None:
        self.tell("heard", seq=event["seq"])

    async def speak(self) -> None:
        """One message after the other, each until it is answered."""
        for number in itertools.count(1):
            if self.crowd.enough.is_set():
                self.tell("silent")
                return
            text = f"{self.name}-{number}"
            while (seq := await self._sent(text)) is None:
                await asyncio.sleep(self.crowd.pace.again_ms / 1000)
            self.tell("acknowledged", text=text, seq=seq)
            await asyncio.sleep(self.crowd.pace.pace_ms / 1000)

    async def _sent(self, text: str) -> int | None:
        try:
            said = await self.ask("message.send", room=ROOM, text=text, client_id=text)
        except client.CommandRefused as refused:
            self.tell("refused" if refused.passes else "wrong", code=refused.code)
            return None
        except client.ConnectionLost:
            self.tell("doubted")
            return None
        seq: int = said["message"]["seq"]
        return seq

    async def run(self) -> None:
        """Listen on and on."""
        raise NotImplementedError

    async def ask(self, command: str, **params: Any) -> Any:
        """The result. Raises: CommandRefused, ConnectionLost."""
        raise NotImplementedError


class OfParleyClient(Person):
    async def run(self) -> None:
        async with client.connect(
            self.crowd.url, token=self.token, timing=self.crowd.pace.client, on_state=self._entered
        ) as self.chat:
            self._up.set()
            subscription = await self.chat.subscribe(ROOM, after=0)
            async for item in subscription:
                if isinstance(item, client.Reset):
                    self.tell("wrong", reset=True)
                else:
                    self.heard(item)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._up = asyncio.Event()

    def _entered(self, state: client.State) -> None:
        if state.name == "reconnecting":
            self.tell("lost", reason=state.reason)

    async def ask(self, command: str, **params: Any) -> Any:
        await self._up.wait()
        return await self.chat.call(command, **params)


class Native(Person):
    """By hand: the library `websockets` and JSON, by the rules of the protocol's page."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._socket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def run(self) -> None:
        url, pace = self.crowd.url.replace("http", "ws", 1) + "/ws", self.crowd.pace
        while not self.is_out:
            code = None
            try:
                async with connect(
                    url,
                    additional_headers={"Authorization": f"Bearer {self.token}"},
                    open_timeout=pace.connect_ms / 1000,
                    close_timeout=1,
                    max_size=None,
                ) as socket:
                    code = await self._live(socket)
            except websockets.InvalidStatus as refused:
                if refused.response.status_code < 500:
                    self.tell(
                        "out" if refused.response.status_code == 401 else "wrong",
                        **json.loads(refused.response.body or b"{}"),
                    )
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            if code in (4400, 4403, 4409) and not self.stubborn:
                self.tell("out", code=code)
            longest_s = pace.restart_s if code == 1012 else pace.again_ms / 1000
            await asyncio.sleep(random.random() * longest_s)

    async def _live(self, socket: ClientConnection) -> int | None:
        """Its close code."""
        try:
            self._socket = socket
            self._connected.set()
            await self._subscribe(socket)
            async for text in socket:
                await self._take(socket, json.loads(text))
        except websockets.ConnectionClosed:
            pass
        finally:
            self._socket = None
            self._connected.clear()
            answers, self._answers = self._answers, {}
            for answer in answers.values():
                answer.set_exception(client.ConnectionLost("gone"))
            self.tell("lost", reason=socket.close_code)
        return socket.close_code

    async def _subscribe(self, socket: ClientConnection) -> None:
        params = {"room": ROOM, "after": self.last}
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "room.subscribe", "params": params}))

    async def _take(self, socket: ClientConnection, said: dict[str, Any]) -> None:
        if said.get("method") == "event":
            self.heard(said["params"])
        elif said.get("method") == "subscription.ended":
            self.tell("wrong", **said["params"])
        elif said.get("id") == 0 and "error" in said:
            refused = client.CommandRefused.of_rpc(said["error"])
            if not refused.passes and not self.stubborn:
                self.tell("wrong", code=refused.code)
            await asyncio.sleep(self.crowd.pace.again_ms / 1000)
            await self._subscribe(socket)
        elif said.get("id") == 0:
            if said["result"]["reset"]:
                self.tell("wrong", reset=True)
            for event in said["result"]["events"]:
                self.heard(event)
            if not said["result"]["complete"]:
                await self._subscribe(socket)
        elif said.get("id") in self._answers:
            answer = self._answers.pop(said["id"])
            if "error" in said:
                answer.set_exception(client.CommandRefused.of_rpc(said["error"]))
            else:
                answer.set_result(said["result"])

    async def ask(self, command: str, **params: Any) -> Any:
        await self._connected.wait()
        assert self._socket is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        with suppress(websockets.ConnectionClosed):  # `_live` tells who waits for the answer
            await self._socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": command, "params": params}))
        return await answer


class Rpc(Person):
    """A script: `POST /rpc`; what was said it asks for, behind what it knows."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.http = httpx2.AsyncClient(
            base_url=self.crowd.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=self.crowd.pace.answer_ms / 1000,
        )

    async def run(self) -> None:
        async with self.http:
            while True:
                try:
                    page = await self.ask("event.list", room=ROOM, after=self.last)
                except (client.CommandRefused, client.ConnectionLost):
                    pass
                else:
                    for event in page["events"]:
                        self.heard(event)
                    if not page["complete"]:
                        continue
                await asyncio.sleep(self.crowd.pace.again_ms / 1000)

    async def ask(self, command: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": command, "params": params}
        try:
            answer = await self.http.post("/rpc", json=body)
        except httpx2.TransportError as error:
            self.tell("lost", reason=type(error).__name__)
            raise client.ConnectionLost(type(error).__name__) from None
        if answer.status_code != 200:
            raise client.CommandRefused(
                answer.json()["code"],
                answer.status_code,
                answer.text,
                {"retry_after": answer.headers.get("retry-after")},
            )
        said = answer.json()
        if "error" in said:
            raise client.CommandRefused.of_rpc(said["error"])
        return said["result"]


OURS: dict[str, type[Person]] = {"parley.client": OfParleyClient, "native": Native, "rpc": Rpc}


class Crowd:
    """`wrong` is whatever nobody should have been told; `lag_s` how late this machine looked at what it was sent."""

    def __init__(self, url: str, pace: Pace, npm: asyncio.subprocess.Process) -> None:
        self.url = url
        self.pace = pace
        self.people: dict[str, Person] = {}
        self.wrong: list[str] = []
        self.lag_s = 0.0
        self.enough = asyncio.Event()
        self.changed = asyncio.Event()
        self._npm = npm
        self._speaking: list[asyncio.Task[None]] = []
        self.running = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._watch())]

    def add(self, name: str, kind: str, token: str, *, speaks: bool = True, stubborn: bool = False) -> Person:
        if kind in OURS:
            person = OURS[kind](self, name, kind, token, stubborn)
            self.running.append(asyncio.ensure_future(person.run()))
            if speaks:
                self._speaking.append(asyncio.ensure_future(person.speak()))
        else:
            person = Person(self, name, kind, token, stubborn)
            self._tell_npm(add=name, kind=kind, token=token, speaks=speaks, stubborn=stubborn)
        self.people[name] = person
        return person

    async def until(self, reached: Callable[[Person], bool], people: list[Person], patience_s: float) -> None:
        """Raises: AssertionError, with who has not."""
        try:
            async with asyncio.timeout(patience_s):
                while not all(reached(person) for person in people):
                    self.look()
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            late = [f"{one}: {one.last}, {len(one.acknowledged)}" for one in people if not reached(one)]
            raise AssertionError(f"not within {patience_s} s: {late}") from None

    def look(self) -> None:
        """Raises whatever went wrong with one of us."""
        assert not self.wrong, self.wrong
        assert self._npm.returncode is None, "node is gone"
        for task in (*self.running, *self._speaking):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def hush(self, speakers: list[Person], patience_s: float) -> None:
        """Everybody ends with an answer to what was said last."""
        self.enough.set()
        self._tell_npm(enough=True)
        await self.until(lambda person: person.is_silent, speakers, patience_s)

    async def leave(self) -> None:
        assert self._npm.stdin is not None
        self._npm.stdin.close()
        for task in (*self.running[1:], *self._speaking):
            task.cancel()
        await asyncio.gather(*self.running, *self._speaking, return_exceptions=True)
        await self._npm.wait()

    def _tell_npm(self, **line: Any) -> None:
        assert self._npm.stdin is not None
        self._npm.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self) -> None:
        assert self._npm.stdout is not None
        while line := await self._npm.stdout.readline():
            said = json.loads(line)
            if "lag_s" in said:
                self.lag_s = max(self.lag_s, said["lag_s"])
            else:
                self.people[said.pop("who")].told(said.pop("on"), said.pop("at_s"), said)

    async def _watch(self) -> None:
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0.05)
            self.lag_s = max(self.lag_s, time.monotonic() - began_s - 0.05)


@asynccontextmanager
async def crowd(url: str, pace: Pace) -> AsyncIterator[Crowd]:
    node_modules()
    process = await asyncio.create_subprocess_exec(
        need("node", "npm's clients run on it"),
        str(DRIVER),
        url,
        json.dumps(asdict(pace)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
        limit=2**20,
    )
    people = Crowd(url, pace, process)
    try:
        yield people
    finally:
        await people.leave()
