"""The database is away, full or restarted: commands are refused, nothing is lost, and it all comes back by itself."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from parley.domain import messages, rooms
from parley.domain.errors import Refusal
from parley.store import postgres, upgrade_database
from tests.servers import PostgresServer
from tests.stage import somebody
from tests.store.asking import PATIENCE_S, Asking

ADA = somebody("ada")


async def outcome(answer: Any) -> Any:
    (came,) = await asyncio.wait_for(asyncio.gather(answer, return_exceptions=True), PATIENCE_S)
    return came


def is_unavailable(came: Any) -> bool:
    return isinstance(came, Refusal) and came.code == "unavailable"


@asynccontextmanager
async def in_use(server: PostgresServer) -> AsyncIterator[Asking]:
    """With the room `hall`; the writer, a reader and the poll have a connection each."""
    async with Asking(server.url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        await asking.read(ADA, rooms.Get("hall"))
        await asking.poll({})
        yield asking


def one_of_each(asking: Asking) -> list[asyncio.Future[Any]]:
    """What a write, a read and a poll that are asked now come to."""
    asked = (
        asking.write(ADA, messages.Send("hall", "lost")),
        asking.read(ADA, rooms.Get("hall")),
        asking.poll({"hall": 0}),
    )
    return [asyncio.ensure_future(outcome(each)) for each in asked]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    upgrade_database(server.url, random_bytes=os.urandom)
    yield server
    server.remove()


@pytest.mark.anyio
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_while_postgresql_is_away_everything_is_unavailable_and_then_goes_on(
    server: PostgresServer, how: signal.Signals
) -> None:
    async with in_use(server) as asking:
        await asyncio.to_thread(server.stop, how)
        for _ in range(2):
            assert is_unavailable(await outcome(asking.write(ADA, messages.Send("hall", "lost"))))
            assert is_unavailable(await outcome(asking.read(ADA, rooms.Get("hall"))))
            assert is_unavailable(await asking.ping())
            with pytest.raises(Refusal) as refused:
                await asking.poll({"hall": 0})
            assert is_unavailable(refused.value)
        await asyncio.to_thread(server.start)
        assert await asking.ping() is None
        sent = await outcome(asking.write(ADA, messages.Send("hall", "back")))
        assert sent.reply["message"].seq == 2, "what was refused was not written"
        assert (await outcome(asking.read(ADA, rooms.Get("hall")))).reply["room"].seq == 2
        assert (await asking.poll({"hall": 0})).heads == {"hall": 2}


@pytest.mark.anyio
async def test_a_postgresql_that_is_frozen_is_as_one_that_is_away(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel goes on answering, so no keepalive notices."""
    async with in_use(server) as asking:
        server.freeze()
        try:
            with monkeypatch.context() as hurried:
                hurried.setattr(postgres, "SILENT_S", 0.3)
                hurried.setattr(postgres, "CONNECT_TIMEOUT_S", 2)
                refused = await asyncio.gather(*one_of_each(asking))
        finally:
            server.thaw()
        assert all(is_unavailable(each) for each in refused), refused
        assert await asking.ping() is None
        sent = await outcome(asking.write(ADA, messages.Send("hall", "back")))
        assert sent.reply["message"].seq == 2, "what was refused was not written"
        assert (await outcome(asking.read(ADA, rooms.Get("hall")))).reply["room"].seq == 2
        assert (await asking.poll({"hall": 1})).heads == {"hall": 2}


@pytest.mark.anyio
async def test_a_restart_between_two_commands_is_not_noticed(server: PostgresServer) -> None:
    async with in_use(server) as asking:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert (await outcome(asking.write(ADA, messages.Send("hall", "x")))).reply["message"].seq == 2
        assert (await outcome(asking.read(ADA, rooms.Get("hall")))).reply["room"].seq == 2
        assert (await asking.poll({"hall": 1})).heads == {"hall": 2}


@pytest.mark.anyio
async def test_a_crash_of_postgresql_under_load_loses_no_answered_message(server: PostgresServer) -> None:
    async with Asking(server.url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        answers = [asking.write(ADA, messages.Send("hall", str(i), client_id=str(i))) for i in range(4000)]
        await asyncio.wait_for(asyncio.shield(answers[100]), PATIENCE_S)
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        outcomes: list[Any] = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), PATIENCE_S)
        answered = {o.reply["message"].seq: o.reply["message"].text for o in outcomes if not is_unavailable(o)}
        assert len(answered) >= 101
        await asyncio.to_thread(server.start)
        again = [
            await outcome(asking.write(ADA, messages.Send("hall", "again", client_id=str(i)))) for i in (0, 100, 3999)
        ]
        assert [o.reply["duplicate"] for o in again[:2]] == [True, True]
        stored: dict[int, str] = {}
        while page := (await asking.read(ADA, messages.List("hall", after=max(stored, default=0), limit=200))).reply:
            stored.update({message.seq: message.text for message in page["messages"]})
            if page["complete"]:
                break
        assert sorted(stored) == list(range(2, 2 + len(stored))), "no hole"
        assert answered.items() <= stored.items()


@pytest.mark.anyio
async def test_a_disk_that_takes_no_more_refuses_writes_serves_reads_and_recovers(sqlite_url: str) -> None:
    async with Asking(sqlite_url) as asking:
        await asking.write(ADA, rooms.Create(room="hall"))
        directory = Path(sqlite_url.removeprefix("sqlite:///")).parent
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        largest = max(file.stat().st_size for file in directory.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 50_000, hard))
        try:
            written = 0
            while not is_unavailable(came := await outcome(asking.write(ADA, messages.Send("hall", "x" * 8000)))):
                written = came.reply["message"].seq
                assert written < 500, "the limit was never met"
            assert is_unavailable(await outcome(asking.write(ADA, messages.Send("hall", "x" * 8000))))
            room = (await outcome(asking.read(ADA, rooms.Get("hall")))).reply["room"]
            assert room.seq == written, "reads go on, and see nothing of what was refused"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await asking.ping() is None
        assert (await outcome(asking.write(ADA, messages.Send("hall", "y")))).reply["message"].seq == written + 1


@pytest.mark.anyio
async def test_closing_has_one_limit_for_all_that_is_stuck(server: PostgresServer) -> None:
    async with in_use(server) as asking:
        server.freeze()
        try:
            stuck = one_of_each(asking)  # which their threads take up before they hear that there is no more
            began_s = time.monotonic()
            assert not await asyncio.to_thread(asking.store.close, 1)
            assert time.monotonic() - began_s < 2.5, "a writer, a reader and the poll, one after the other, are 3 s"
        finally:
            server.thaw()
        await asyncio.gather(*stuck)
