"""A server in the test's own event loop, with a clock that the test moves.

For what happens at certain times. What must survive a process is tested with `serving.ServerProcess`.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from websockets.asyncio.client import connect

from parley.config import load
from parley.server import Clock, Server
from parley.store import Store
from parley.tokens import Issuer
from tests.graphql_client import graphql
from tests.serving import PATIENCE_S, NativeClient
from tests.socketio import Refused, Transport, socketio

Door = Literal["native", "graphql", "socketio-websocket", "socketio-polling", "socketio-upgrade"]
#: Every way to a live connection, for `pytest.fixture(params=DOORS)`.
DOORS: tuple[Door, ...] = get_args(Door)


class MovedClock(Clock):
    """The real clock plus what the test has added."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.added_s = 0.0
        self.set_s = 0.0
        self.monotonic_s = lambda: loop.time() + self.added_s

    def unix_s(self) -> float:
        return time.time() + self.added_s + self.set_s


class HereServer:
    """A running `Server`, and what a test does to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.door: Door = "native"

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    @property
    def now_s(self) -> float:
        return self.server.parts.clock.unix_s()

    @property
    def store(self) -> Store:
        return self.server.parts.store

    def pause(self, seconds: float) -> None:
        """Let time pass as if the process had been stopped: no timer runs until the next turn of the loop."""
        clock = self.server.parts.clock
        assert isinstance(clock, MovedClock)
        clock.added_s += seconds

    def set_clock(self, seconds: float) -> None:
        """Set the clock forward, as after a sleep of the machine: of the time that waits go by nothing has passed."""
        clock = self.server.parts.clock
        assert isinstance(clock, MovedClock)
        clock.set_s += seconds

    def move(self, seconds: float) -> None:
        """Let time pass, and whatever it makes due happen."""
        self.pause(seconds)
        self.server.parts.wheel.run_due(self.server.parts.clock.monotonic_s())

    def tell(self) -> None:
        """Let the signals that gather for a second go out now."""
        self.server.parts.signals.tick(self.server.parts.clock.unix_ms())

    def token(self, subject: str, *, roles: tuple[str, ...] = ("member",), ttl_s: float = 900, **claims: Any) -> str:
        stated: dict[str, Any] = {
            "type": "account",
            "sid": f"sid-{subject}",
            "jti": f"jti-{time.time_ns()}",
            "auth_time": self.now_s,
        }
        issuer = Issuer(self.server.parts.keys.keyring.signing_key)
        return issuer.issue(sub=subject, roles=list(roles), now_s=self.now_s, ttl_s=ttl_s, **(stated | claims))

    @asynccontextmanager
    async def native(self, token: str, **options: Any) -> AsyncIterator[NativeClient]:
        async with connect(self.ws_url, subprotocols=["parley.v1", f"bearer.{token}"], **options) as socket:  # type: ignore[list-item]
            yield NativeClient(socket)

    @asynccontextmanager
    async def client(self, token: str) -> AsyncIterator[NativeClient]:
        """A client by the door that the test is told through: a story is the same by all of them."""
        if self.door == "native":
            async with self.native(token) as client:
                yield client
        elif self.door == "graphql":
            async with graphql(self.url, token) as client:
                yield client
        else:
            transport: Transport = self.door.removeprefix("socketio-")  # type: ignore[assignment]
            async with socketio(self.url, token, transport, joins=False) as client:
                with suppress(Refused):  # as a native socket that is closed at once, it is there to be asked why
                    await client.join(token)
                yield client


class HereServers(HereServer):
    """Several nodes on one store, as if they were one: whoever asks for the address gets that of any."""

    def __init__(self, nodes: list[HereServer], chance: random.Random) -> None:
        super().__init__(nodes[0].server)
        self.nodes = nodes
        self._chance = chance

    @property
    def url(self) -> str:
        return self._chance.choice(self.nodes).server.url

    def pause(self, seconds: float) -> None:
        for node in self.nodes:
            node.pause(seconds)

    def tell(self) -> None:
        for node in self.nodes:
            node.tell()

    def move(self, seconds: float) -> None:
        self.pause(seconds)
        for node in self.nodes:
            node.server.parts.wheel.run_due(node.server.parts.clock.monotonic_s())


@dataclass
class Nodes:
    """On how many nodes, over which bus and on which database the stories are told; see `scenarios/conftest.py`."""

    count: int
    bus_url: str
    database_url: str
    chance: random.Random


#: None: one node with SQLite.
STAGE: Nodes | None = None


@asynccontextmanager
async def serving(data: Path, *, demo: bool = False, **settings: Any) -> AsyncIterator[HereServer]:
    """Serve from `data` for as long as the block lasts; keyword arguments are `PARLEY_…` settings."""
    if STAGE is None or "bus_url" in settings:
        async with one_node(data, demo=demo, **settings) as server:
            yield server
        return
    urls = {"bus_url": STAGE.bus_url, "database_url": STAGE.database_url}
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(one_node(data, demo=demo and not number, **(urls | settings)))
            for number in range(STAGE.count)
        ]
        for node in nodes:
            await until(lambda node=node: node.server.parts.bus.is_up)  # type: ignore[misc]
        yield HereServers(nodes, STAGE.chance)


@asynccontextmanager
async def one_node(data: Path, *, demo: bool = False, **settings: Any) -> AsyncIterator[HereServer]:
    environ = {f"PARLEY_{name.upper()}": str(value) for name, value in settings.items()}
    server = Server(load(environ=environ | {"PARLEY_PORT": "0", "PARLEY_DATA": str(data)}), MovedClock)
    running = asyncio.ensure_future(server.run(demo=demo))
    ready = asyncio.ensure_future(server.ready.wait())
    await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    try:
        yield HereServer(server)
    finally:
        server.stop()
        await asyncio.wait_for(running, PATIENCE_S)


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop until it is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)
