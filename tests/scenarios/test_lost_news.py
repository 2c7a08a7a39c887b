"""The bus is a shortcut, never the truth: what it loses, subscribers have from the store within three seconds."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parley.delivery.bus import LocalBus
from tests.here import serving
from tests.serving import ServerProcess, native

pytestmark = pytest.mark.anyio

#: The promise is three seconds; the rest is for a machine that is busy.
WITHIN_S = 3.0 + 2.0


@pytest.fixture
def two_nodes(tmp_path: Path, postgres_url: str) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two processes on one PostgreSQL with one keyring, and no bus between them."""
    first = ServerProcess(tmp_path / "data", database_url=postgres_url)
    second = ServerProcess(tmp_path / "data", database_url=postgres_url)
    second.log_path = tmp_path / "second.log"
    with first, second:
        yield first, second


async def test_a_node_hears_what_another_wrote(two_nodes: tuple[ServerProcess, ServerProcess]) -> None:
    here, there = two_nodes
    async with native(here, here.token("ada")) as ada, native(there, here.token("ben")) as ben:
        await ada.call("room.create", room="den")
        await ben.call("room.subscribe", room="den")
        began = time.monotonic()
        sent = [await ada.call("message.send", room="den", text=f"{n}") for n in range(10)]
        await ben.until(lambda one: one.get("params", {}).get("seq") == sent[-1]["message"]["seq"])
        assert time.monotonic() - began < WITHIN_S
        assert [event["seq"] for event in ben.events("den")] == list(range(2, 12))


async def test_what_was_committed_before_a_kill_and_never_published_arrives_all_the_same(
    two_nodes: tuple[ServerProcess, ServerProcess],
) -> None:
    here, there = two_nodes
    async with native(there, here.token("ben")) as ben:
        async with native(here, here.token("ada")) as ada:
            await ada.call("room.create", room="den")
            await ben.call("room.subscribe", room="den")
            await ada.call("message.send", room="den", text="the last words")
            here.kill()  # nothing of this ever went over a bus
        began = time.monotonic()
        assert (await ben.event("message.created"))["data"]["message"]["text"] == "the last words"
        assert time.monotonic() - began < WITHIN_S


async def test_a_revocation_on_one_node_closes_sockets_on_the_other(
    two_nodes: tuple[ServerProcess, ServerProcess],
) -> None:
    here, there = two_nodes
    async with (
        native(there, here.token("ada", sid="s1")) as ada,
        native(here, here.token("root", roles=("admin",))) as root,
    ):
        await ada.call("session.describe")
        began = time.monotonic()
        await root.call("session.revoke", session="s1", reason="enough")
        assert await ada.closed() == (4403, "enough")
        assert time.monotonic() - began < WITHIN_S


async def test_an_event_that_is_dropped_on_the_way_is_read_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second event is lost, the last one among them."""
    real = LocalBus.__init__
    monkeypatch.setattr(LocalBus, "__init__", lambda bus: real(bus, lose=lambda event: event.seq % 2 == 0))
    async with (
        serving(tmp_path / "data") as server,
        server.native(server.token("ada")) as ada,
        server.native(server.token("ben")) as ben,
    ):
        await ada.call("room.create", room="den")
        await ben.call("room.subscribe", room="den")
        sent = await asyncio.gather(*(ada.call("message.send", room="den", text=f"{n}") for n in range(11)))
        last = max(one["message"]["seq"] for one in sent)
        assert last % 2 == 0, "the last one is to be lost"
        began = time.monotonic()
        await ben.until(lambda one: one.get("params", {}).get("seq") == last)
        assert time.monotonic() - began < WITHIN_S
        assert [event["seq"] for event in ben.events("den")] == list(range(2, last + 1))
