"""Random interleavings of expiry, renewal, revocation, role changes, removal, pauses and traffic, on a running server.

The promise: no event is handed to a connection whose principal may not read it at that moment. Every frame is looked at
when the server hands it to the socket, not when somebody reads it; and at the end nothing that was due is missing.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.domain import accounts
from parley.domain.sign_ins import Start
from parley.service import watch
from parley.transport.connection import Connection
from tests.here import HereServer, serving, until
from tests.lengths import LONG
from tests.serving import CommandRefused, NativeClient

FAR_S: Final = 80_000.0
GRACE_S: Final = 25.0
ROOMS: Final = ("den", "hall")  # private, and public


@dataclass
class Rights:
    """What one connection's bearer may do, as the world outside knows it. While a change is under way, both hold."""

    expires_at_s: set[float]
    narrowed_to: set[str | None]
    is_revoked: bool = False


@dataclass
class World:
    """What is true now of Ada: in which rooms she is, or from which she is banned, and whether she is an admin."""

    subject: str
    is_admin: set[bool] = field(default_factory=lambda: {False})
    standing: dict[str, set[str]] = field(default_factory=lambda: {"den": {"member"}, "hall": {"stranger"}})

    def may_read(self, room: str) -> bool:
        if True in self.is_admin:
            return True
        allowed = {"member"} if room == "den" else {"member", "stranger"}
        return bool(self.standing[room] & allowed)


class Watched:
    """A connection's socket, whose every write is held against the world."""

    def __init__(self, ws: Any, connection: Connection, example: "Example", rights: Rights) -> None:
        self._ws = ws
        self._connection = connection
        self._example = example
        self.rights = rights
        self._below_write = ws.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ws, name)

    def write(self, data: bytes) -> None:
        for message in messages_in(data):
            self._example.handed(message, self.rights)
        self._below_write(data)


def messages_in(data: bytes) -> Iterator[dict[str, Any]]:
    """The JSON of every text frame that a server sends: final, unmasked (RFC 6455 §5.2)."""
    at = 0
    while at < len(data):
        opcode, size = data[at] & 0x0F, data[at + 1]
        at += 2
        if size == 126:
            size, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        elif size == 127:
            size, at = int.from_bytes(data[at : at + 8], "big"), at + 8
        if opcode == 1:
            message = json.loads(data[at : at + size])
            yield from message if isinstance(message, list) else [message]
        at += size


class Example:
    """One interleaving: Ada reads over one connection at a time, Olga owns the rooms and talks, root administers."""

    def __init__(self, server: HereServer, number: int, stack: AsyncExitStack) -> None:
        self.server = server
        self.stack = stack
        self.number = number
        self.violations: list[str] = []
        self.events = 0
        self.sends: list[asyncio.Task[Any]] = []
        self.rights: Rights | None = None
        self.ada: NativeClient | None = None

    def room(self, name: str) -> str:
        return f"{name}-{self.number}"

    # --- the check ---

    def handed(self, message: dict[str, Any], rights: Rights) -> None:
        events = [message["params"]] if message.get("method") == "event" else []
        if isinstance(message.get("result"), dict):
            events += message["result"].get("events", [])
        for event in events:
            self.events += 1
            room = event["room"].partition("-")[0]
            why = self._why_not(room, rights)
            if why:
                self.violations.append(f"{event['room']} {event['seq']} {event['type']}: {why}")

    def _why_not(self, room: str, rights: Rights) -> str | None:
        if rights.is_revoked:
            return "it is revoked"
        if self.server.now_s >= max(rights.expires_at_s):
            return "its token has expired"
        if not self.world.may_read(room):
            return f"she is {self.world.standing[room]} there"
        if None not in rights.narrowed_to and room not in rights.narrowed_to:
            return "its token is narrowed"
        return None

    # --- the scene ---

    async def begin(self) -> None:
        create = accounts.Create(username=f"ada{self.number}", password="no hash", roles=["member"])
        self.account = self.server.store.execute(create).reply["account"].id
        self.world = World(self.account)
        self.olga = await self._client(self.server.token("olga", ttl_s=10 * FAR_S))
        self.root = await self._client(self.server.token("root", roles=("admin",), ttl_s=10 * FAR_S))
        for room, visibility in (("den", "private"), ("hall", "public")):
            await self._surely(self.olga, "room.create", room=self.room(room), visibility=visibility)
        await self._surely(self.olga, "room.invite", room=self.room("den"), subject=self.account)
        self._new_session()
        await self.connect()

    async def _client(self, token: str) -> NativeClient:
        return await self.stack.enter_async_context(self.server.native(token))

    def _new_session(self) -> None:
        start = Start(subject=self.account, expires_at_ms=2**50, user_agent=None, address=None)
        self.session = self.server.store.execute(start).reply[0].id

    def _token(self, ttl_s: float, narrowed_to: str | None) -> str:
        grants = {f"room:{self.room(narrowed_to or '')}": ["read"]}
        claims: dict[str, Any] = {} if narrowed_to is None else {"grants": grants}
        return self.server.token(self.account, ttl_s=ttl_s, sid=self.session, **claims)

    # --- what may happen ---

    async def connect(self, ttl_s: float = 300, narrowed_to: str | None = None) -> None:
        if self.ada is not None:
            await self.ada.socket.close()
        token = self._token(ttl_s, narrowed_to)
        self.rights = Rights({self.server.now_s + ttl_s}, {narrowed_to})
        self.ada = await self._client(token)
        await self._asked("session.describe")
        for room in ROOMS:
            await self.subscribe(room)

    async def _surely(self, client: NativeClient, method: str, **params: Any) -> Any:
        """The answer, once the node knows what was revoked: after a jump of its clock it does not, for a while."""
        while True:
            try:
                return await client.call(method, **params)
            except CommandRefused as refused:
                if refused.code != "unavailable":
                    raise
                await asyncio.sleep(0.01)

    async def _asked(self, method: str, **params: Any) -> Any:
        """What Ada asks; a refusal and a lost connection are none of this test's business."""
        assert self.ada is not None
        try:
            return await self._surely(self.ada, method, **params)
        except CommandRefused:
            return None
        except (asyncio.CancelledError, Exception):
            assert self.ada.socket.close_code is not None
            return None

    async def subscribe(self, room: str) -> None:
        await self._asked("room.subscribe", room=self.room(room), after=0)

    async def send(self, room: str) -> None:
        await self._surely(self.olga, "message.send", room=self.room(room), text="said")

    async def send_on_the_way(self, room: str) -> None:
        """Traffic that is under way while something else happens."""
        self.sends.append(asyncio.ensure_future(self.send(room)))

    async def renew(self, ttl_s: float, narrowed_to: str | None) -> None:
        rights = self.rights
        assert rights is not None
        expires_at_s = self.server.now_s + ttl_s
        rights.expires_at_s.add(expires_at_s)
        rights.narrowed_to.add(narrowed_to)
        before_s, before = rights.expires_at_s - {expires_at_s}, rights.narrowed_to - {narrowed_to}
        renewed = await self._asked("session.refresh", token=self._token(ttl_s, narrowed_to))
        if renewed is not None:
            rights.expires_at_s, rights.narrowed_to = {expires_at_s}, {narrowed_to}
        else:
            rights.expires_at_s, rights.narrowed_to = before_s or {expires_at_s}, before or {narrowed_to}

    async def stands(self, room: str, standing: str, asked: Any) -> None:
        """What changes her standing is asked; until its answer the old one counts too, and then no more."""
        self.world.standing[room] = self.world.standing[room] | {standing}
        try:
            await asked
        except CommandRefused:
            self.world.standing[room] -= {standing} if len(self.world.standing[room]) > 1 else set()
        else:
            self.world.standing[room] = {standing}

    async def remove(self, room: str) -> None:
        standing = "stranger" if self.world.standing[room] != {"banned"} else "banned"
        call = self._surely(self.olga, "room.remove", room=self.room(room), subject=self.account)
        await self.stands(room, standing, call)

    async def ban(self, room: str) -> None:
        call = self._surely(self.olga, "room.remove", room=self.room(room), subject=self.account, ban=True)
        await self.stands(room, "banned", call)

    async def invite(self, room: str) -> None:
        call = self._surely(self.olga, "room.invite", room=self.room(room), subject=self.account)
        await self.stands(room, "member", call)

    async def roles(self, role: str) -> None:
        self.world.is_admin.add(role == "admin")
        await self._surely(self.root, "account.set_roles", account=self.account, roles=[role])
        self.world.is_admin = {role == "admin"}

    async def revoke(self, what: str) -> None:
        assert self.rights is not None
        named = {"session": {"session": self.session}, "subject": {"subject": self.account}}[what]
        await self._surely(self.root, "session.revoke", **named)
        self.rights.is_revoked = True
        self.server.pause(0.01)  # a sign-in in the very millisecond of a revocation lives, and another is to follow
        self._new_session()

    async def reconnect(self, ttl_s: float) -> None:
        await self.connect(ttl_s)

    async def move(self, seconds: float) -> None:
        self.server.move(seconds)

    async def pause(self, seconds: float) -> None:
        self.server.pause(seconds)

    async def rest(self) -> None:
        """Let what is under way arrive."""
        await asyncio.sleep(0.02)

    # --- the end ---

    async def end(self) -> None:
        """Whatever happened, who may read again gets everything, each once and in order."""
        await asyncio.gather(*self.sends)
        for room in ROOMS:
            await self.invite(room)
        self._new_session()
        await self.connect(FAR_S)
        assert self.ada is not None
        for room in ROOMS:
            sent = await self._surely(self.olga, "message.send", room=self.room(room), text="the end")
            seq = sent["message"]["seq"]
            page = await self._surely(self.ada, "room.subscribe", room=self.room(room), after=0)
            got = [event["seq"] for event in page["events"]]
            assert page["complete"]
            assert got == list(range(1, len(got) + 1))
            if not got or got[-1] < seq:
                await until(lambda s=seq, r=room: s in [e["seq"] for e in self.ada.events(self.room(r))])  # type: ignore
        assert not self.violations, "\n".join(self.violations)


SECONDS = st.sampled_from([0.1, 1.5, 20.0, 40.0, 70.0])
TTLS = st.sampled_from([1.0, 20.0, 60.0, 300.0])
NARROWED = st.sampled_from([None, None, "den", "hall"])
A_ROOM = st.sampled_from(ROOMS)
STEPS = st.one_of(
    st.tuples(st.just(Example.send), A_ROOM),
    st.tuples(st.just(Example.send_on_the_way), A_ROOM),
    st.tuples(st.just(Example.send_on_the_way), A_ROOM),
    st.tuples(st.just(Example.renew), TTLS, NARROWED),
    st.tuples(st.just(Example.remove), A_ROOM),
    st.tuples(st.just(Example.ban), A_ROOM),
    st.tuples(st.just(Example.invite), A_ROOM),
    st.tuples(st.just(Example.subscribe), A_ROOM),
    st.tuples(st.just(Example.roles), st.sampled_from(["admin", "member"])),
    st.tuples(st.just(Example.revoke), st.sampled_from(["session", "subject"])),
    st.tuples(st.just(Example.reconnect), TTLS),
    st.tuples(st.just(Example.move), SECONDS),
    st.tuples(st.just(Example.pause), SECONDS),
    st.tuples(st.just(Example.rest)),
)


class Stage:
    """One server for all interleavings, and the loop that it runs in."""

    def __init__(self, data: Path) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.numbers = 0
        self.events = 0
        self.example: Example | None = None
        given: dict[str, Any] = {
            "limits__messages_per_s": 0,
            "limits__ping_interval": 0,
            "limits__connection_lifetime": 0,
        }
        self.server: HereServer = self.runner.run(
            self.stack.enter_async_context(serving(data, auth__grace=GRACE_S, limits__bad_tokens_per_s=0, **given))
        )

    def close(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def play(self, steps: list[tuple[Any, ...]]) -> None:
        self.runner.run(self._play(steps))

    async def _play(self, steps: list[tuple[Any, ...]]) -> None:
        self.numbers += 1
        async with AsyncExitStack() as stack:
            self.example = example = Example(self.server, self.numbers, stack)
            await example.begin()
            for step, *arguments in steps:
                await step(example, *arguments)
            await example.end()
            self.events += example.events


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    opened: Callable[[Connection, Any], None] = Connection.opened

    def watched(connection: Connection, ws: Any) -> None:
        example = played.example
        if example is not None and connection.subject == example.account and example.rights is not None:
            ws = Watched(ws, connection, example, example.rights)
        opened(connection, ws)

    monkeypatch.setattr(Connection, "opened", watched)
    monkeypatch.setattr(watch, "POLL_INTERVAL_S", 0.02)  # so that a jump of the clock is over soon
    played = Stage(tmp_path / "data")
    yield played
    played.close()


def test_no_event_is_handed_to_who_may_not_read_it_at_that_moment(stage: Stage) -> None:
    @settings(
        derandomize=True,
        max_examples=400 if LONG else 25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.lists(STEPS, min_size=8, max_size=30))
    def interleavings(steps: list[tuple[Any, ...]]) -> None:
        stage.play(steps)

    interleavings()
    assert stage.events > 10 * stage.numbers  # else nothing was looked at
    print(f"{stage.numbers} interleavings, {stage.events} events looked at as they were handed over")


@pytest.mark.parametrize(
    "steps",
    [
        [(Example.send_on_the_way, "den"), (Example.pause, 400.0), (Example.rest,)],
        [(Example.roles, "admin"), (Example.remove, "den"), (Example.subscribe, "den")]
        + [(Example.send_on_the_way, "den")] * 20
        + [(Example.roles, "member")]
        + [(Example.send_on_the_way, "den")] * 20,
        [(Example.send_on_the_way, "den")] * 20 + [(Example.ban, "den")] + [(Example.send_on_the_way, "den")] * 20,
        [(Example.send_on_the_way, "den")] * 20
        + [(Example.revoke, "session")]
        + [(Example.send_on_the_way, "den")] * 20,
        [(Example.send_on_the_way, "den")] * 20 + [(Example.renew, 60.0, "hall"), (Example.send, "den")],
    ],
    ids=["expiry", "roles", "ban", "revocation", "grants"],
)
def test_the_right_ends_in_the_middle_of_traffic(stage: Stage, steps: list[tuple[Any, ...]]) -> None:
    for _ in range(20 if LONG else 3):
        stage.play(steps)


def test_a_check_that_finds_nothing_would_be_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the hold taken out of the server, the watch finds what it is there for."""
    monkeypatch.setattr(Connection, "hand_over_nothing", lambda self: None)
    monkeypatch.setattr(Connection, "reads", property(lambda self: True))
    with pytest.raises(AssertionError, match="its token has expired"):
        stage.play([(Example.renew, 1.0, None), (Example.move, 1.5), (Example.send, "den"), (Example.rest,)])
