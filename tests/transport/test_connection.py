"""`transport/connection.py`: how many a subject may have, and how one ends."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from parley.domain import accounts
from parley.service.ordering import READING_MAX
from parley.service.passwords import hash_password
from parley.transport.connection import WITHHELD_MAX
from tests.here import HereServer, serving, until
from tests.serving import NativeClient
from tests.streams import unfenced
from tests.transport.wire import Peer, closing, text

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    with unfenced():
        async with serving(tmp_path / "data", limits__messages_per_s=0, limits__connections=2) as server:
            server.store.execute(accounts.Create("ada", hash_password("ada"), ["member"]))
            yield server


def token(server: HereServer) -> str:
    return server.token(server.store.execute(accounts.Find("ada")).reply.id)


async def bare(server: HereServer, of: str, **options: Any) -> Peer:
    """A client that does nothing by itself, not even to answer a CLOSE."""
    port = int(server.url.rsplit(":", 1)[1])
    return await Peer.upgraded(port, "/ws", f"Sec-WebSocket-Protocol: parley.v1, bearer.{of}", **options)


def live(server: HereServer) -> list[Any]:
    """The connections that are somebody's, the oldest first."""
    connections = server.server.parts.connections
    return [one for key in connections._by if key.startswith("subject:") for one in connections.of(key)]


async def congested(server: HereServer, speaker: NativeClient, slow: Peer) -> Any:
    """The connection of `slow`, who subscribes to a room and does not read what is said there."""
    await speaker.call("room.create", room="hall")
    await slow.send(text(json.dumps(_request("room.subscribe", room="hall"))))
    assert json.loads((await slow.frame())[1])["id"] == "room.subscribe"
    connection = live(server)[-1]
    connection.ws._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    while not connection.outbox.congested:
        await speaker.call("message.send", room="hall", text="x" * 8000)
    return connection


async def test_one_too_many_closes_one_also_while_those_before_it_leave_their_close_unanswered(
    server: HereServer,
) -> None:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(await bare(server, token(server))) for _ in range(5)]
        assert [await peer.close_code() for peer in peers[:3]] == [4409, 4409, 4409]
        assert len(live(server)) == 2
        assert len(server.server.parts.connections) == 5, "who is closing still counts for the node"


async def test_nothing_is_written_behind_a_close_to_one_that_did_not_read_until_then(server: HereServer) -> None:
    async with server.native(token(server)) as speaker, await bare(server, token(server), receive_buffer=4096) as slow:
        connection = await congested(server, speaker, slow)
        await slow.send(text(json.dumps(_request("session.describe"))))
        await until(lambda: connection.outbox.waiting_bytes > 0)
        connection.close(1012, "lifetime")
        assert await slow.close_code() == 1012
        await slow.send(closing(1012))
        assert await slow.read_all() == b""


async def test_of_one_who_does_not_read_its_answers_no_more_is_read_once_what_it_asks_is_large(
    server: HereServer,
) -> None:
    async with server.native(token(server)) as speaker, await bare(server, token(server), receive_buffer=4096) as slow:
        connection = await congested(server, speaker, slow)
        wide = [{**_request("room.list"), "id": f"{number:0100000}"} for number in range(30)]
        sending = asyncio.ensure_future(slow.send(b"".join(text(json.dumps(one)) for one in wide)))
        await until(lambda: connection._paused)
        assert connection._ordering.under_way < 20
        answers = []
        while len(answers) < len(wide):
            message = json.loads((await slow.frame())[1])
            if "id" in message:
                answers.append(int(message["id"][-3:]))
        await sending
        assert answers == list(range(len(wide)))


async def test_results_wait_behind_a_fence_few_at_a_time_and_are_told_in_order_after_it(server: HereServer) -> None:
    async with server.native(token(server)) as ada:
        await ada.call("room.create", room="den")
        (connection,) = live(server)
        server.server.parts.connections.fence()
        asking = [asyncio.ensure_future(ada.call("room.get", room="den")) for _ in range(40)]
        ordering = connection._ordering
        await until(lambda: len(connection._withheld or ()) >= WITHHELD_MAX and not ordering._reading)
        assert len(connection._withheld or ()) < WITHHELD_MAX + READING_MAX
        assert not any(one.done() for one in asking)
        server.server.parts.connections.unfence()
        assert {answer["room"]["id"] for answer in await asyncio.gather(*asking)} == {"den"}


def _request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
