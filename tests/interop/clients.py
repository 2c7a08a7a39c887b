"""Socket.IO clients of other houses behind one face: npm's in a process of its own, and python-socketio's.

Both reconnect by themselves; what they tell of it stands in `states`.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import socketio

from tests.npm import need, node_modules
from tests.serving import PATIENCE_S, CommandRefused, die_with_parent

DRIVER = Path(__file__).with_name("socketio_client.mjs")
NOTICES = ("event", "signal", "session.expiring", "session.changed", "session.closing", "subscription.ended")


class Client(Protocol):
    """`news` are what the server says by itself, (name, body); `states` what the library tells of the connection."""

    news: list[tuple[str, Any]]
    states: list[dict[str, Any]]

    async def connect(self, token: str | None) -> None:
        """Begin; whether that succeeds shows in `states`."""

    def use(self, token: str) -> None:
        """Connect with this one from the next time on."""

    async def call(self, name: str, **params: Any) -> Any:
        """The result. Raises: CommandRefused."""

    async def state(self, on: str, *, after: int = 0) -> dict[str, Any]:
        """The first state of this name behind the first `after` states, come or still to come."""

    async def notice(self, name: str) -> Any:
        """The first piece of news of a name, come or still to come; its body."""

    async def event_with(self, seq: int) -> Any: ...
    def events(self, room: str) -> list[Any]: ...


class Base:
    def __init__(self) -> None:
        self.news: list[tuple[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    def heard(self, name: str, body: Any) -> None:
        self.news.append((name, body))
        self._changed.set()

    def told(self, **state: Any) -> None:
        self.states.append(state)
        self._changed.set()

    async def _until(self, find: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := find()) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"states: {self.states}; news: {self.news[-5:]}") from None
        return found

    async def state(self, on: str, *, after: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = await self._until(
            lambda: next((one for one in self.states[after:] if one["on"] == on), None)
        )
        return found

    async def notice(self, name: str) -> Any:
        return await self._until(lambda: next((body for heard, body in self.news if heard == name), None))

    async def event_with(self, seq: int) -> Any:
        return await self._until(
            lambda: next((body for heard, body in self.news if heard == "event" and body["seq"] == seq), None)
        )

    def events(self, room: str) -> list[Any]:
        return [body for name, body in self.news if name == "event" and body["room"] == room]


def _result(said: Any) -> Any:
    if "error" in said:
        error = said["error"]
        assert {"code", "status", "message", "data"} <= error.keys()
        raise CommandRefused({"message": error["message"], "data": error["data"]})
    return said["result"]


class NpmClient(Base):
    """`process` is node with `socketio_client.mjs`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "answer" in said:
                self._answers.pop(said["answer"]).set_result(said["said"])
            elif said["on"] in NOTICES:
                self.heard(said["on"], said["body"])
            else:
                self.told(**said)

    def _ask(self, **line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def connect(self, token: str | None) -> None:
        if token is not None:
            self.use(token)
        self._ask(connect=True)

    def use(self, token: str) -> None:
        self._ask(token=token)

    async def call(self, name: str, **params: Any) -> Any:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._ask(call=number, name=name, params=params)
        return _result(await asyncio.wait_for(answer, PATIENCE_S))

    async def leave(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        await self._reading


@asynccontextmanager
async def npm_client(package: str, url: str, transports: Sequence[str], **options: Any) -> AsyncIterator[NpmClient]:
    node_modules()
    process = await asyncio.create_subprocess_exec(
        need("node", "npm's clients run on it"),
        str(DRIVER),
        package,
        url,
        json.dumps(transports),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
        limit=2**20,
    )
    client = NpmClient(process)
    try:
        yield client
    finally:
        with suppress(ProcessLookupError):
            await client.leave()


class PythonClient(Base):
    """python-socketio's AsyncClient."""

    def __init__(self, url: str, transports: Sequence[str]) -> None:
        super().__init__()
        self._url = url
        self._transports = list(transports)
        self._token: str | None = None
        self._client = client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2)
        client.on("connect", self._connected)
        client.on("disconnect", lambda reason: self.told(on="disconnect", reason=reason))
        client.on("connect_error", self._refused)
        for name in NOTICES:
            client.on(name, lambda body, name=name: self.heard(name, body))

    def _connected(self) -> None:
        self.told(on="connect", id=self._client.get_sid(), transport=self._client.transport())

    def _refused(self, said: Any) -> None:
        said = said if isinstance(said, dict) else {"message": said}
        self.told(on="connect_error", message=said["message"], data=said.get("data"))

    async def connect(self, token: str | None) -> None:
        self._token = token
        with suppress(socketio.exceptions.ConnectionError):
            await self._client.connect(
                self._url,
                auth=lambda: {} if self._token is None else {"token": self._token},
                transports=self._transports,
                wait_timeout=PATIENCE_S,
            )

    def use(self, token: str) -> None:
        self._token = token

    async def call(self, name: str, **params: Any) -> Any:
        return _result(await self._client.call(name, params, timeout=PATIENCE_S))

    async def leave(self) -> None:
        await self._client.disconnect()
        await self._client.shutdown()


@asynccontextmanager
async def python_client(url: str, transports: Sequence[str]) -> AsyncIterator[PythonClient]:
    client = PythonClient(url, transports)
    try:
        yield client
    finally:
        await client.leave()
