"""Socket.IO as its own clients see it: npm's, the current and the oldest of version 3, and python-socketio's.

Each over polls only, a WebSocket only, and from the one to the other, beside a native client.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.clients import Client, npm_client, python_client
from tests.serving import PATIENCE_S, CommandRefused, ServerProcess, native

pytestmark = pytest.mark.anyio

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
HOUSES = ("socket.io-client", "socket.io-client-3", "python-socketio")


def client_of(house: str, url: str, transports: str) -> AbstractAsyncContextManager[Client]:
    if house == "python-socketio":
        return python_client(url, TRANSPORTS[transports])
    return npm_client(house, url, TRANSPORTS[transports])


@pytest.fixture(params=HOUSES)
def house(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TRANSPORTS)
def transports(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("served") / "data", limits__messages_per_s=0) as server:
        yield server


async def subscribed(client: Client, room: str, after: int) -> Any:
    """A server that has just started may not have read yet what was revoked, and says `unavailable`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await client.call("room.subscribe", room=room, after=after)
            except CommandRefused as refused:
                if refused.code != "unavailable":
                    raise


async def test_they_talk_with_a_native_client_renew_are_revoked_and_stay_away(
    server: ServerProcess, house: str, transports: str
) -> None:
    async with client_of(house, server.url, transports) as ada, native(server, server.token("ben")) as ben:
        here = f"{house}-{transports}"  # the server is every test's
        await ada.connect(server.token("ada", ttl_s=29, sid=here, jti=f"{here}-1"))
        connected = await ada.state("connect")
        described = await ada.call("session.describe")
        assert described["connection"] == connected["id"]

        # In both directions: the same ids, the same seq.
        await ben.call("room.create", room=here)
        await ada.call("room.join", room=here)
        await ada.call("room.subscribe", room=here)
        await ben.call("room.subscribe", room=here)
        texts = [f"{number} héllo 👩‍👩‍👧‍👦" for number in range(40)]
        sent: list[dict[str, Any]] = []
        for number, text in enumerate(texts):
            speaker: Any = ada if number % 2 else ben
            sent.append((await speaker.call("message.send", room=here, text=text, client_id=f"{number}"))["message"])
        last = sent[-1]["seq"]
        await ada.event_with(last)
        await ben.until(lambda one: one["method"] == "event" and one["params"]["seq"] == last)
        assert [event["data"]["message"] for event in ada.events(here)] == sent
        assert ada.events(here) == [event for event in ben.events(here) if event["seq"] > 2]
        await ben.call("typing.set", room=here, active=True)
        assert (await ada.notice("signal"))["type"] in ("typing.changed", "presence.changed")

        # Renewed in place: it was warned, and lives on as the same connection.
        assert (await ada.notice("session.expiring"))["expires_at"] == described["expires_at"]
        renewed = await ada.call("session.refresh", token=server.token("ada", sid=here, jti=f"{here}-2"))
        assert renewed["connection"] == connected["id"]
        assert renewed["expires_at"] > described["expires_at"]

        # Revoked: told so, disconnected by the server, and not back.
        async with native(server, server.token("root", roles=("admin",))) as admin:
            await admin.call("session.revoke", token_id=f"{here}-2", reason="enough")
        assert await ada.notice("session.closing") == {"code": 4403, "reason": "enough", "reconnect": False}
        gone = await ada.state("disconnect")
        assert gone["reason"] in ("io server disconnect", "server disconnect")
        await asyncio.sleep(0.5)  # a client that came back would do so after 0.05 to 0.2 s
        assert ada.states[-1] is gone


async def test_a_restart_brings_them_back_by_themselves_and_they_miss_nothing(
    tmp_path: Path, house: str, transports: str
) -> None:
    server = ServerProcess(tmp_path / "data", limits__messages_per_s=0).start()
    try:
        token = server.token("ada")
        async with client_of(house, server.url, transports) as ada:
            await ada.connect(token)
            await ada.state("connect")
            await ada.call("room.create", room="den")
            await ada.call("room.subscribe", room="den")
            first = (await ada.call("message.send", room="den", text="before"))["message"]
            await ada.event_with(first["seq"])
            before = len(ada.states)
            assert server.stop() == 0
            gone = await ada.state("disconnect")
            assert gone["reason"] not in ("io server disconnect", "server disconnect")
            told = [body for name, body in ada.news if name == "session.closing"]
            if told or transports == "websocket":  # who is between two polls can't be told: nobody listens there now
                assert told == [{"code": 1012, "reason": "restarting", "reconnect": True}]
            server.start()
            async with native(server, token) as other:
                await other.call("message.send", room="den", text="while away")
            await ada.state("connect", after=before)
            page = await subscribed(ada, "den", first["seq"])
            assert [event["data"]["message"]["text"] for event in page["events"]] == ["while away"]
            last = (await ada.call("message.send", room="den", text="after"))["message"]
            await ada.event_with(last["seq"])
            assert [event["seq"] for event in [*ada.events("den")[:1], *page["events"], *ada.events("den")[1:]]] == [
                2,
                3,
                4,
            ]
    finally:
        server.kill()


async def test_a_refused_token_is_a_connect_error_with_its_code(
    server: ServerProcess, house: str, transports: str
) -> None:
    async with client_of(house, server.url, transports) as ada:
        await ada.connect(server.token("ada", ttl_s=-1))
        refused = await ada.state("connect_error")
        assert refused["message"] == "token_expired"
        assert refused["data"] == {"code": "token_expired", "status": 401}
    async with client_of(house, server.url, transports) as nobody:
        await nobody.connect(None)
        assert (await nobody.state("connect_error"))["message"] == "token_missing"


async def test_npm_takes_a_new_token_after_a_refused_one(server: ServerProcess, transports: str) -> None:
    async with client_of("socket.io-client", server.url, transports) as ada:
        await ada.connect(server.token("ada", ttl_s=-1))
        await ada.state("connect_error")
        await ada.connect(server.token("ada"))
        await ada.state("connect")
        assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_an_unknown_namespace_is_told_so(server: ServerProcess, transports: str) -> None:
    async with npm_client("socket.io-client", server.url + "/rooms", TRANSPORTS[transports]) as ada:
        await ada.connect(server.token("ada"))
        refused = await ada.state("connect_error")
        assert refused["message"] == "Invalid namespace"
