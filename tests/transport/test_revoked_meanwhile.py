"""Whose token is revoked while what they asked for takes its time: between being let in and being found, and before.

A revocation closes what it finds; a request whose body is still on its way, and a stream that is still being asked for,
it does not find.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from parley.domain.params import Params
from parley.domain.streams import May
from tests.here import HereServer, serving, until
from tests.streams import get, listen, request, unfenced
from tests.transport.streams.scene import HEAD, made, on_air, put

pytestmark = pytest.mark.anyio

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
SAY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "room.create", "params": {"room": "hall"}})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    with unfenced():
        async with serving(tmp_path / "data") as server:
            yield server


async def revoke(server: HereServer, subject: str) -> None:
    """Until this node knows."""
    root_token = server.token("root", roles=("admin",))
    async with server.native(root_token) as root, server.native(server.token(subject)) as theirs:
        await root.call("session.revoke", subject=subject)
        assert (await theirs.closed())[0] == 4403


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/rpc", JSON, SAY),
        ("/graphql", JSON, json.dumps({"query": 'mutation { createRoom(room: "hall") { id } }'})),
        ("/conversations", JSON, json.dumps({"message": "hello"})),
        ("/auth/revoke", FORM, "token=x"),
    ],
    ids=lambda value: value if value.startswith("/") else "",
)
async def test_a_body_that_comes_after_its_bearer_was_revoked_is_refused(
    server: HereServer, path: str, kind: str, body: str
) -> None:
    head = (f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Expect: 100-continue")
    async with request(server, "POST", path, *head, token=server.token("eve")) as late:
        # uvicorn says so once the body is asked for: who asks is known by then.
        assert (await late.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await revoke(server, "eve")
        late.writer.write(body.encode())
        assert await late.refusal() == (401, "token_revoked")


@contextmanager
def slow(server: HereServer, monkeypatch: pytest.MonkeyPatch, kind: type[Params], subject: str) -> Iterator[list[Any]]:
    """The store answers this question of theirs when the test says so."""
    held: list[Any] = []
    real = server.store.read

    def read(job: Any) -> None:
        if isinstance(job.params, kind) and job.principal.subject == subject:
            held.append(lambda: real(job))
        else:
            real(job)

    with monkeypatch.context() as patch:
        patch.setattr(server.store, "read", read)
        yield held


async def test_who_is_revoked_while_a_stream_is_asked_for_does_not_listen_by_http(
    server: HereServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with put(server, "show", await made(server)) as ada:
        await ada.send(HEAD)
        await on_air(server, "show")
        with slow(server, monkeypatch, May, "eve") as held:
            async with get(server, "show", token=server.token("eve")) as eve:
                await until(lambda: bool(held))
                await revoke(server, "eve")
                held[0]()
                assert await eve.refusal() == (401, "token_revoked")


async def test_who_is_revoked_while_a_stream_is_asked_for_is_turned_away_from_its_socket(
    server: HereServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(server)
    with slow(server, monkeypatch, May, "eve") as held:
        opening = asyncio.ensure_future(_listened(server, server.token("eve")))
        await until(lambda: bool(held))
        await revoke(server, "eve")
        held[0]()
        assert await opening == (4401, "token_revoked")


async def _listened(server: HereServer, token: str) -> tuple[int | None, str | None]:
    async with listen(server, "show", token) as socket:
        return await socket.closed()
