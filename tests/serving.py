"""A real server in a process of its own, and a plain native client to talk to it.

`ServerProcess` runs `parley serve` as its users do; `NativeClient` is the `websockets` library with just enough
JSON-RPC.
"""

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import websockets
from websockets.asyncio.client import ClientConnection, connect

from parley.store.keyring import Keyring
from parley.tokens import Issuer
from tests.lengths import LONG
from tests.nursery import NURSERY, Command, die_with_parent
from tests.servers import free_port

__all__ = ["die_with_parent"]

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 15.0


class ServerProcess:
    """`parley serve` with its data in `data`; keyword arguments become `PARLEY_…` settings.

    Without a `port` it has one that is still free when it is started again; 0 leaves the choice to the server.
    """

    #: Forked, which takes a tenth of the time; the long form starts it as its users do.
    is_forked = not LONG

    def __init__(self, data: Path, *args: str, port: int | None = None, **settings: Any) -> None:
        self.data = data
        self.args = args
        self.port = free_port() if port is None else port
        self.settings = {f"PARLEY_{name.upper()}": str(value) for name, value in settings.items()}
        self.log_path = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[str] | Command | None = None

    def start(self) -> Self:
        arguments = ["serve", "--port", str(self.port), "--data", str(self.data), *self.args]
        env = {**os.environ, **self.settings}
        with self.log_path.open("a") as log:
            if self.is_forked:
                self.process = NURSERY.start_piped(arguments, env=env, cwd=str(ROOT), stderr=log.fileno())
            else:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "parley", *arguments],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    cwd=ROOT,
                    env=env,
                    preexec_fn=die_with_parent,
                )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("http://"), f"the server did not start:\n{self.log}"
        self.url = line.strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def stop(self, *, patience_s: float = PATIENCE_S) -> int:
        """SIGTERM, as an orchestrator does; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience_s)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    def keyring(self) -> Keyring:
        return Keyring.load(
            self.data / "keys",
            algorithm=self.settings.get("PARLEY_AUTH__ALGORITHM", "ES256"),
            secret=self.settings.get("PARLEY_AUTH__SECRET"),
            now_ms=time.time_ns() // 1_000_000,
            random_bytes=os.urandom,
        )

    def token(self, subject: str, *, roles: tuple[str, ...] = ("member",), ttl_s: float = 900, **claims: Any) -> str:
        """A token such as `parley token issue` makes, for any subject."""
        claims = {"type": "account", "sid": f"sid-{subject}", "jti": f"jti-{time.time_ns()}", **claims}
        issuer = Issuer(self.keyring().signing_key)
        return issuer.issue(sub=subject, roles=list(roles), now_s=time.time(), ttl_s=ttl_s, **claims)

    def post(self, path: str, body: Any, token: str | None = None) -> tuple[int, Any]:
        """Status and decoded body of a JSON request."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read() or b"null")

    def login(self, username: str, password: str | None = None) -> str:
        status, body = self.post("/auth/login", {"username": username, "password": password or username})
        assert status == 200, body
        return body["access_token"]


def shop_of(server: ServerProcess) -> str:
    """Where the demo's shop is, as the terminal says."""
    found = re.search(r"A shop with the widget on it is at (http://127\.0\.0\.1:\d+)/", server.log)
    assert found, server.log
    return found[1]


class CommandRefused(Exception):
    """A JSON-RPC error, as it came."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['data']['code']}: {error['message']}")
        self.code: str = error["data"]["code"]
        self.status: int = error["data"]["status"]
        self.data: dict[str, Any] = error["data"]


class NativeClient:
    """Calls commands and keeps what the server says by itself, in order, in `news`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.news: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._came = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                message = json.loads(text)
                for one in message if isinstance(message, list) else [message]:
                    if "method" in one:
                        self.news.append(one)
                    elif one.get("id") in self._answers:
                        self._answers.pop(one["id"]).set_result(one)
                    else:
                        self.news.append(one)
                self._came.set()
        except websockets.ConnectionClosed:
            pass
        finally:
            self._came.set()
            for answer in self._answers.values():
                answer.cancel()

    async def call(self, method: str, **params: Any) -> Any:
        """The result. Raises: CommandRefused.

        A node that has had no turn for a second begins no subscription until it knows what was revoked: it is asked
        again, as any client would.
        """
        async with asyncio.timeout(2 * PATIENCE_S):
            while True:
                try:
                    return await self._called(method, **params)
                except CommandRefused as refused:
                    if (method, refused.code) != ("room.subscribe", "unavailable"):
                        raise
                await asyncio.sleep(0.05)

    async def _called(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        message = await asyncio.wait_for(answer, PATIENCE_S)
        if "error" in message:
            raise CommandRefused(message["error"])
        return message["result"]

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first piece of news that is wanted, come or still to come."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for one in self.news:
                    if wanted(one):
                        return one
                if self._reading.done():
                    raise AssertionError(f"the connection ended with {self.socket.close_code}; news: {self.news}")
                self._came.clear()
                await self._came.wait()

    async def event(self, kind: str, room: str | None = None) -> dict[str, Any]:
        """The first event of a type; its params."""

        def wanted(one: dict[str, Any]) -> bool:
            params = one.get("params", {})
            return one.get("method") == "event" and params["type"] == kind and (room is None or params["room"] == room)

        return (await self.until(wanted))["params"]

    def events(self, room: str) -> list[dict[str, Any]]:
        """Every event of a room so far, as params, in the order they came."""
        return [one["params"] for one in self.news if one.get("method") == "event" and one["params"]["room"] == room]

    async def closed(self) -> tuple[int | None, str | None]:
        """Code and reason, once the server has closed."""
        await asyncio.wait_for(self.socket.wait_closed(), PATIENCE_S)
        await self._reading  # what was said before it is among the news
        return self.socket.close_code, self.socket.close_reason


@asynccontextmanager
async def native(server: ServerProcess, token: str | None = None, **options: Any) -> AsyncIterator[NativeClient]:
    """A native client, its token as subprotocol unless `additional_headers` bring one."""
    protocols = ["parley.v1"] + ([f"bearer.{token}"] if token is not None else [])
    async with connect(server.ws_url, subprotocols=protocols, **options) as socket:
        yield NativeClient(socket)
