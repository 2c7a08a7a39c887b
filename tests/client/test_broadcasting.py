"""Broadcasting and listening over real lines: what is sent is heard, lines that die, tokens that end, being cut."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from parley.client import SessionRefused, Timing
from parley.client.broadcasting import Broadcast
from parley.client.credentials import FixedToken, SignIn, origins
from parley.client.listening import Listening
from parley.dialects.ogg import Kind, NotOggOpus, OpusStream, Pages
from tests.client.following import rpc
from tests.lengths import LONG
from tests.ogg import decoded, encoded, joined, link
from tests.proxies import proxy
from tests.serving import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.anyio

SOON = Timing(retry_s=0.1, retry_max_s=0.3)
AUDIO = joined(link(500, packets=2))


class Made:
    """A source whose bytes are there already; `more` is what comes when it is asked for."""

    def __init__(self, data: bytes, more: asyncio.Event | None = None) -> None:
        self._data = data
        self._more = more

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(self._data), 1000):
            yield self._data[at : at + 1000]
        if self._more is not None:
            await self._more.wait()

    def level_db(self, at_s: float) -> float | None:
        return None


class Heard(Listening):
    """A listener and what it heard."""

    def __init__(self, url: str, stream: str, token: str | None, **options: Any) -> None:
        self.data = b""
        self.changed = asyncio.Event()
        credentials = None if token is None else FixedToken(token)
        super().__init__(
            origins(url)[1], stream, credentials, self._keep, timing=SOON, on_change=self.changed.set, **options
        )

    def _keep(self, data: bytes) -> None:
        self.data += data

    async def until(self, wanted: Callable[[], bool]) -> None:
        await until(wanted, self.changed)

    @property
    def packets(self) -> list[bytes]:
        return packets_of(self.data)


class OnAir(Broadcast):
    def __init__(self, url: str, stream: str, token: str, source: Made) -> None:
        self.changed = asyncio.Event()
        self.states: list[str] = []
        super().__init__(origins(url)[1], stream, FixedToken(token), source, timing=SOON, on_change=self._note)

    def _note(self) -> None:
        self.changed.set()
        if not self.states or self.states[-1] != self.state.name:
            self.states.append(self.state.name)

    async def until(self, wanted: Callable[[], bool]) -> None:
        await until(wanted, self.changed)


async def until(wanted: Callable[[], bool], changed: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not wanted():
            changed.clear()
            await changed.wait()


def packets_of(data: bytes) -> list[bytes]:
    stream = OpusStream()
    return [one for page in Pages().feed(data) if stream.take(page) is Kind.AUDIO for one in page.packets()]


@asynccontextmanager
async def running(one: Broadcast | Listening) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(one.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("on-air") / "data", "--demo", limits__connections=100) as one:
        yield one


@pytest.fixture
def token(server: ServerProcess) -> str:
    return server.token("zoe")


@pytest.fixture
async def stream(server: ServerProcess, token: str) -> str:
    """A public stream of zoe's."""
    name = f"st-{secrets.token_hex(4)}"
    await rpc(server, token, "stream.create", stream=name, title="The test")
    return name


async def test_what_is_sent_is_what_is_heard_and_players_take_it(
    server: ServerProcess, stream: str, token: str
) -> None:
    sent = encoded(0.8)
    listener, broadcast = Heard(server.url, stream, None, once=True), OnAir(server.url, stream, token, Made(sent))
    async with running(listener) as hearing:
        await listener.until(lambda: listener.described.get("live") is False)
        begun_s = asyncio.get_running_loop().time()
        await broadcast.run()
        took_s = asyncio.get_running_loop().time() - begun_s
        await asyncio.wait_for(hearing, PATIENCE_S)
    assert listener.packets == packets_of(sent)
    assert len(decoded(listener.data)) >= 0.79 * 48_000 * 2
    assert broadcast.described["title"] == "The test"
    assert broadcast.states == ["connecting", "live", "ended"]
    assert took_s > 0.4, "a file is sent at its own pace"


async def test_a_listener_outlives_the_broadcast_and_its_file_goes_on_with_the_next(
    server: ServerProcess, stream: str, token: str
) -> None:
    sent = encoded(0.3)
    listener = Heard(server.url, stream, token)
    async with running(listener) as hearing:
        await listener.until(lambda: listener.described.get("live") is False)
        for times in (1, 2):
            await OnAir(server.url, stream, token, Made(sent)).run()
            await listener.until(lambda times=times: len(listener.packets) == times * len(packets_of(sent)))  # type: ignore[misc]
        listener.finish()
        await hearing
    assert listener.packets == packets_of(sent) * 2
    assert sum(page.bos for page in Pages().feed(listener.data)) == 1
    decoded(listener.data)


async def test_who_comes_late_hears_from_there_on(server: ServerProcess, stream: str, token: str) -> None:
    broadcast, listener = OnAir(server.url, stream, token, Made(AUDIO)), Heard(server.url, stream, None)
    async with running(broadcast):
        await broadcast.until(lambda: broadcast.sent_s > 0.2)
        async with running(listener):
            await listener.until(lambda: listener.heard_s > 0.5)
            await broadcast.until(lambda: broadcast.described["listeners"] == 1)
    heard, sent = listener.packets, packets_of(AUDIO)
    first = sent.index(heard[0])
    assert first > 0
    assert heard == sent[first : first + len(heard)]


#: The last takes the ten seconds after which the server gives up a broadcaster that is silent.
FAILURES = {"cut": {}, "black_hole_one_way": {"to_server": False}} | ({"black_hole": {}} if LONG else {})


@pytest.mark.parametrize("how", FAILURES)
async def test_a_network_that_fails_for_a_moment_is_a_gap_and_not_an_end(
    server: ServerProcess, stream: str, token: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley.client.stream_socket.PULSE_S", 0.1)
    monkeypatch.setattr("parley.client.stream_socket.PULSE_MISSED_S", 0.4)
    async with proxy(server.port) as line:
        broadcast, listener = OnAir(line.url, stream, token, Made(AUDIO)), Heard(server.url, stream, None, once=True)
        async with running(listener) as hearing, running(broadcast):
            await listener.until(lambda: listener.heard_s > 0.3 and listener.described["live"])
            started_at = listener.described["started_at"]
            getattr(line, how.removesuffix("_one_way"))(**FAILURES[how])
            await broadcast.until(lambda: broadcast.states.count("live") >= 2)
            heard_s = listener.heard_s
            await listener.until(lambda: listener.heard_s > heard_s + 0.3)
            assert not hearing.done()
            assert listener.described["live"] is True
            assert listener.described["started_at"] == started_at
            again = OnAir(server.url, stream, server.token("root", roles=("admin",)), Made(AUDIO))
            with pytest.raises(SessionRefused, match="already_live"):
                await again.run()
    decoded_packets = [one for one in listener.packets if one in set(packets_of(AUDIO))]
    assert decoded_packets == listener.packets


async def test_the_second_is_refused_and_the_first_not_disturbed(
    server: ServerProcess, stream: str, token: str
) -> None:
    first, second = (OnAir(server.url, stream, token, Made(AUDIO)) for _ in range(2))
    async with running(first):
        await first.until(lambda: first.sent_s > 0)
        with pytest.raises(SessionRefused) as refused:
            await second.run()
        assert (refused.value.code, refused.value.close_code) == ("already_live", 4409)
        sent_s = first.sent_s
        await first.until(lambda: first.sent_s > sent_s + 0.2)
        assert first.states == ["connecting", "live"]


async def test_being_stopped_and_being_revoked_are_ends_with_a_reason(
    server: ServerProcess, stream: str, token: str
) -> None:
    first = OnAir(server.url, stream, token, Made(AUDIO))
    async with running(first) as broadcasting:
        await first.until(lambda: first.sent_s > 0)
        await rpc(server, token, "stream.stop", stream=stream)
        with pytest.raises(SessionRefused) as refused:
            await asyncio.wait_for(broadcasting, PATIENCE_S)
        assert refused.value.code == "stopped"
    session = await asyncio.to_thread(server.login, "ada")
    second = OnAir(server.url, "radio", session, Made(AUDIO))
    async with running(second) as broadcasting:
        await second.until(lambda: second.sent_s > 0)
        await asyncio.to_thread(server.post, "/auth/logout", {}, session)
        with pytest.raises(SessionRefused) as refused:
            await asyncio.wait_for(broadcasting, PATIENCE_S)
        assert refused.value.code == "revoked"


async def test_who_may_not_and_what_is_not_there(server: ServerProcess, stream: str, token: str) -> None:
    with pytest.raises(SessionRefused, match="not_found"):
        await OnAir(server.url, "nowhere", token, Made(AUDIO)).run()
    with pytest.raises(SessionRefused, match="forbidden"):
        await OnAir(server.url, stream, server.token("eve"), Made(AUDIO)).run()
    with pytest.raises(SessionRefused, match="not_found"):
        await Heard(server.url, "nowhere", None).run()
    hidden = f"{stream}-m"
    await rpc(server, token, "stream.create", stream=hidden, visibility="members")
    with pytest.raises(SessionRefused, match="token_missing"):
        await Heard(server.url, hidden, None).run()


async def test_what_is_no_opus_is_not_sent(server: ServerProcess, stream: str, token: str) -> None:
    for data in (b"", b"ID3 and so on" * 200_000, AUDIO[2000:]):
        with pytest.raises(NotOggOpus):
            await OnAir(server.url, stream, token, Made(data)).run()


async def test_a_source_that_brings_nothing_takes_no_place(server: ServerProcess, stream: str, token: str) -> None:
    silent, other = (
        OnAir(server.url, stream, token, Made(b"", asyncio.Event())),
        OnAir(server.url, stream, token, Made(AUDIO)),
    )
    async with running(silent) as waiting, running(other):
        await other.until(lambda: other.sent_s > 0)
        assert not waiting.done()
    assert silent.states == ["connecting", "ended"]


async def test_its_end_frees_the_place_at_once(server: ServerProcess, stream: str, token: str) -> None:
    broadcast = OnAir(server.url, stream, token, Made(AUDIO))
    async with running(broadcast) as broadcasting:
        await broadcast.until(lambda: broadcast.sent_s > 0)
        broadcast.finish()
        await asyncio.wait_for(broadcasting, PATIENCE_S)
    other = OnAir(server.url, stream, server.token("root", roles=("admin",)), Made(AUDIO))
    async with running(other):
        await other.until(lambda: other.sent_s > 0)


async def test_a_token_is_renewed_on_the_air(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tokens of two seconds, warned of at once: some of them live no longer than the one before."""
    where = tmp_path_factory.mktemp("renewed") / "data"
    with ServerProcess(where, "--demo", auth__access_ttl=2, auth__margin=1.9, auth__grace=1) as short:
        http, ws = origins(short.url)
        states: list[str] = []
        changed = asyncio.Event()

        def note() -> None:
            states.append(broadcast.state.name)
            changed.set()

        who = SignIn(http, "ada", "ada")
        broadcast = Broadcast(ws, "radio", who, Made(AUDIO), timing=SOON, on_change=note)
        listener = Heard(short.url, "radio", None)
        tokens = set()
        async with running(broadcast) as broadcasting, running(listener):
            await until(lambda: "live" in states, changed)
            async with asyncio.timeout(PATIENCE_S):
                while len(tokens) < 4 or listener.heard_s < 2.3:
                    listener.changed.clear()
                    await listener.changed.wait()
                    tokens.add(await who.access(None))
            assert not broadcasting.done()
        assert "reconnecting" not in states
        assert broadcast.dropped_s == 0
