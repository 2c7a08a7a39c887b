"""Socket.IO on a real server: who comes in by which credential, what has a limit, how it ends, what breaks it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from websockets.asyncio.client import connect

from parley.server import front
from tests.here import HereServer, serving, until
from tests.serving import PATIENCE_S, CommandRefused
from tests.socketio import Refused, SocketIoClient, Transport, socketio

pytestmark = pytest.mark.anyio

TRANSPORTS: tuple[Transport, ...] = ("websocket", "polling")
ALL_CARRIERS = "header,subprotocol,ticket,message,token_header,query"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    async with serving(tmp_path / "data", limits__messages_per_s=0, limits__bad_tokens_per_s=0) as server:
        yield server


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def refused_by_http(
    server: HereServer, transport: Any, *, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, problem and headers of a handshake that is refused."""
    try:
        async with socketio(server.url, None, transport, headers=headers, query=query, joins=False):
            raise AssertionError("it was let in")
    except httpx2.HTTPStatusError as refused:
        return refused.response.status_code, refused.response.json(), dict(refused.response.headers)
    except websockets.InvalidStatus as invalid:
        answer = invalid.response
        return (
            answer.status_code,
            json.loads(answer.body),
            {name.lower(): value for name, value in answer.headers.items()},
        )


async def refused_at_connect(client: SocketIoClient, token: str | None = None) -> dict[str, Any]:
    with pytest.raises(Refused) as refused:
        await client.join(token)
    return refused.value.said


def ticket(server: HereServer, token: str) -> str:
    answer = httpx2.post(server.url + "/auth/tickets", headers={"Authorization": f"Bearer {token}"})
    return str(answer.json()["ticket"])


# --- Credentials ------------------------------------------------------------------------------------------------------


async def test_a_token_in_connects_auth_lets_in(server: HereServer, transport: Any) -> None:
    async with socketio(server.url, server.token("ada"), transport) as ada:
        session = await ada.call("session.describe")
        assert (session["subject"], session["connection"]) == ("ada", ada.sid)


async def test_a_token_in_the_header_lets_in_and_connect_needs_none(server: HereServer, transport: Any) -> None:
    headers = {"Authorization": f"Bearer {server.token('ada')}"}
    async with socketio(server.url, None, transport, headers=headers) as ada:
        assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_a_ticket_lets_in_once(server: HereServer, transport: Any) -> None:
    query = "ticket=" + await asyncio.to_thread(ticket, server, server.token("ada"))
    async with socketio(server.url, None, transport, query=query) as ada:
        assert (await ada.call("session.describe"))["subject"] == "ada"
    status, problem, _ = await refused_by_http(server, transport, query=query)
    assert (status, problem["code"]) == (401, "ticket_invalid")


async def test_the_query_lets_in_only_where_that_is_on(tmp_path: Path, server: HereServer, transport: Any) -> None:
    query = "token=" + server.token("ada")
    status, problem, headers = await refused_by_http(server, transport, query=query)
    assert (status, problem["code"]) == (401, "carrier_disabled")
    assert headers["www-authenticate"].startswith("Bearer ")
    async with serving(tmp_path / "more", auth__carriers=ALL_CARRIERS) as open_server:
        query = "token=" + open_server.token("ada")
        async with socketio(open_server.url, None, transport, query=query) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_the_token_header_is_looked_at_on_an_upgrade_only(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", auth__carriers=ALL_CARRIERS) as server:
        headers = {"token": server.token("ada")}
        async with socketio(server.url, None, "websocket", headers=headers) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"
        async with socketio(server.url, None, "polling", headers=headers, joins=False) as nobody:
            assert (await refused_at_connect(nobody))["message"] == "token_missing"


async def test_a_bad_token_on_the_handshake_is_http_whatever_the_carrier(server: HereServer, transport: Any) -> None:
    expired = server.token("ada", ttl_s=-1)
    status, problem, headers = await refused_by_http(server, transport, headers={"Authorization": f"Bearer {expired}"})
    assert (status, problem["code"]) == (401, "token_expired")
    assert headers["content-type"] == "application/problem+json"
    assert 'error="invalid_token"' in headers["www-authenticate"]
    status, problem, _ = await refused_by_http(server, transport, query="ticket=nothing")
    assert (status, problem["code"]) == (401, "ticket_invalid")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda server: server.token("ada", ttl_s=-1), "token_expired"),
        (lambda server: server.token("ada")[:-2], "token_bad_signature"),
        (lambda server: "x", "token_malformed"),
        (lambda server: None, "token_missing"),
        (lambda server: "x" * 16_384, "too_large"),
    ],
    ids=["expired", "forged", "malformed", "none", "too large"],
)
async def test_a_bad_token_in_auth_is_a_connect_error_and_the_transport_ends(
    server: HereServer, transport: Any, make: Callable[[HereServer], str | None], code: str
) -> None:
    async with socketio(server.url, None, transport, joins=False) as client:
        said = await refused_at_connect(client, make(server))
        assert said == {"message": code, "data": {"code": code, "status": 413 if code == "too_large" else 401}}
        await asyncio.wait_for(client._reading, PATIENCE_S)
    await until(lambda: not server.server.front.engine.sessions)


@pytest.mark.parametrize("auth", ['{"token":1}', '{"token":{}}'])
async def test_a_token_that_is_no_string_is_malformed(server: HereServer, auth: str) -> None:
    async with socketio(server.url, None, joins=False) as client:
        await client.send("40" + auth)
        with pytest.raises(Refused, match="token_malformed"):
            await client._joined


async def test_the_same_token_twice_is_fine_and_another_is_ambiguous(server: HereServer, transport: Any) -> None:
    token = server.token("ada")
    headers = {"Authorization": f"Bearer {token}"}
    async with socketio(server.url, token, transport, headers=headers) as ada:
        assert (await ada.call("session.describe"))["subject"] == "ada"
    async with socketio(server.url, None, transport, headers=headers, joins=False) as other:
        said = await refused_at_connect(other, server.token("ada"))
        assert said == {"message": "ambiguous_credentials", "data": {"code": "ambiguous_credentials", "status": 400}}
    status, problem, _ = await refused_by_http(server, transport, headers=headers, query="ticket=t")
    assert (status, problem["code"]) == (400, "ambiguous_credentials")


async def test_with_the_carrier_message_off_a_handshake_without_a_token_is_refused(
    tmp_path: Path, transport: Any
) -> None:
    async with serving(tmp_path / "data", auth__carriers="header") as server:
        status, problem, _ = await refused_by_http(server, transport)
        assert (status, problem["code"]) == (401, "token_missing")
        token = server.token("ada")
        headers = {"Authorization": f"Bearer {token}"}
        async with socketio(server.url, None, transport, headers=headers) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"
        async with socketio(server.url, None, transport, headers=headers, joins=False) as other:
            assert (await refused_at_connect(other, token))["message"] == "carrier_disabled"


async def test_only_the_request_without_a_sid_carries_a_credential(server: HereServer) -> None:
    async with socketio(server.url, server.token("ada"), "polling") as ada:
        assert ada.http is not None
        ada.http.headers["Authorization"] = "Bearer " + server.token("ada", ttl_s=-1)
        assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_a_second_sign_in_by_event_is_a_conflict(server: HereServer) -> None:
    async with socketio(server.url, server.token("ada")) as ada:
        with pytest.raises(CommandRefused, match="conflict"):
            await ada.call("session.authenticate", token=server.token("ada"))


# --- Origins ----------------------------------------------------------------------------------------------------------


async def test_a_foreign_origin_is_denied_on_every_request_its_preflight_included(
    tmp_path: Path, transport: Any
) -> None:
    friend, foe = "https://friend.example", "https://foe.example"
    async with serving(tmp_path / "data", allowed_origins=friend) as server:
        status, problem, headers = await refused_by_http(server, transport, headers={"Origin": foe})
        assert (status, problem["code"]) == (403, "origin_denied")
        assert "access-control-allow-origin" not in headers
        async with socketio(server.url, server.token("ada"), transport, headers={"Origin": friend}) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"
        async with socketio(server.url, server.token("ada"), "polling") as ada, httpx2.AsyncClient() as http:
            nowhere = server.url + "/socket.io/?EIO=4&transport=polling"
            for method, url in (("POST", ada._url), ("GET", ada._url), ("POST", nowhere), ("OPTIONS", nowhere)):
                stolen = await http.request(method, url, content=b"1", headers={"Origin": foe})
                assert (stolen.status_code, stolen.json()["code"]) == (403, "origin_denied"), (method, url)
                assert "access-control-allow-origin" not in stolen.headers
            asked = {"Origin": friend, "Access-Control-Request-Method": "POST"}
            answer = await http.options(nowhere, headers=asked)
            assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (204, friend)
            assert (await ada.call("session.describe"))["subject"] == "ada"


# --- Limits -----------------------------------------------------------------------------------------------------------


async def test_sessions_before_connect_count_as_pending_and_those_with_a_credential_never(
    tmp_path: Path, transport: Any
) -> None:
    async with (
        serving(tmp_path / "data", limits__pending_per_address=1) as server,
        socketio(server.url, None, transport, joins=False) as first,
    ):
        status, problem, headers = await refused_by_http(server, transport)
        assert (status, problem["code"]) == (503, "overloaded")
        assert int(headers["retry-after"]) >= 1
        headers = {"Authorization": f"Bearer {server.token('ada')}"}
        async with socketio(server.url, None, transport, headers=headers):
            await first.join(server.token("ben"))
            async with socketio(server.url, server.token("cy"), transport):
                pass


async def test_beyond_the_total_a_handshake_is_overloaded_before_its_token_is_looked_at(
    tmp_path: Path, transport: Any
) -> None:
    async with (
        serving(tmp_path / "data", limits__connections_total=1) as server,
        socketio(server.url, server.token("ada"), transport),
    ):
        status, problem, _ = await refused_by_http(server, transport, headers={"Authorization": "Bearer x"})
        assert (status, problem["code"]) == (503, "overloaded")


async def test_who_does_not_connect_in_time_is_gone(tmp_path: Path, transport: Any) -> None:
    async with serving(tmp_path / "data") as server:
        token = server.token("ada")
        for headers in ({}, {"Authorization": f"Bearer {token}"}):
            async with socketio(server.url, None, transport, headers=headers, joins=False) as client:
                server.move(5.1)
                await asyncio.wait_for(client._reading, PATIENCE_S)
        await until(lambda: not server.server.front.engine.sessions)


async def test_with_the_time_to_authenticate_off_nobody_is_hurried(tmp_path: Path, transport: Any) -> None:
    async with (
        serving(tmp_path / "data", limits__auth_timeout=0, limits__pending_per_address=1) as server,
        socketio(server.url, None, transport, joins=False) as client,
    ):
        server.move(10)
        assert (await refused_by_http(server, transport))[0] == 503, "it still counts as pending"
        await client.join(server.token("ada"))
        assert (await client.call("session.describe"))["subject"] == "ada"


async def test_one_connection_too_many_takes_the_place_of_the_longest_silent(tmp_path: Path, transport: Any) -> None:
    async with (
        serving(tmp_path / "data", limits__connections=1) as server,
        socketio(server.url, server.token("ada"), transport) as first,
        socketio(server.url, server.token("ada"), transport) as second,
    ):
        assert await first.closed() == (4409, "replaced")
        assert first.news[-1]["params"] == {"code": 4409, "reason": "replaced", "reconnect": False}
        assert first.disconnected
        assert (await second.call("session.describe"))["subject"] == "ada"


async def test_who_does_not_poll_holds_no_more_than_the_limit_and_is_ended(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", limits__slow_consumer_bytes=100_000, limits__messages_per_s=0) as server,
        socketio(server.url, server.token("ada"), "polling") as ada,
        server.native(server.token("ben")) as ben,
    ):
        await ben.call("room.create", room="den")
        await ada.call("room.subscribe", room="den")
        session = server.server.front.engine.sessions[ada.engine["sid"]]
        ada.rest()
        await ben.call("message.send", room="den", text="this answers the poll that waits")
        await ada._reading
        for _ in range(40):
            assert session.unpolled_bytes < 100_000
            await ben.call("message.send", room="den", text="x" * 7000)
        assert not session.is_open
        ada.poll_on()
        assert await ada.closed() == (None, None)
        assert len(ada.events("den")) == 1


async def test_commands_of_one_who_does_not_poll_wait_once_there_is_much_to_answer(server: HereServer) -> None:
    async with server.native(server.token("ben")) as ben:
        await ben.call("room.create", room="den")
        for _ in range(40):
            await ben.call("message.send", room="den", text="x" * 8000)
    async with socketio(server.url, server.token("ada"), "polling") as ada:
        session = server.server.front.engine.sessions[ada.engine["sid"]]
        ada.rest()
        await ada.send('42["session.describe"]\x1e421["session.describe"]')
        await ada._reading  # the poll that waited has its answer, and no other begins
        page = json.dumps(["event.list", {"room": "den", "after": 0}])
        await ada.send("\x1e".join(f"42{number}{page}" for number in range(100, 160)))
        (connection,) = list(server.server.parts.connections)
        await until(lambda: connection._ordering._held)
        # Of sixty pages of a third of a mebibyte each, those that were being read.
        assert connection.outbox.waiting_bytes < 12 * 400_000
        assert connection._ordering.under_way > 40
        ada.poll_on()
        for number in range(100, 160):
            answer = ada._answers[number] = asyncio.get_running_loop().create_future()
        assert len((await asyncio.wait_for(answer, 30))["result"]["events"]) == 41
        assert all(answer.done() for answer in ada._answers.values())
        assert session.is_open


async def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", limits__request_bytes=20_000) as server:
        async with socketio(server.url, server.token("ada"), "polling") as ada:
            assert ada.engine["maxPayload"] == 20_000
            assert ada.http is not None
            assert (await ada.http.post(ada._url, content=b"4" * 20_001)).status_code == 413
        async with socketio(server.url, server.token("ada")) as ada:
            await ada.send("4" * 20_001)
            assert await ada.closed() == (1009, "message too big")


async def test_bad_tokens_from_one_address_are_told_to_wait(tmp_path: Path, transport: Any) -> None:
    async with serving(tmp_path / "data", limits__bad_tokens_per_s=1) as server:
        seen: list[str] = []
        while "rate_limited" not in seen:  # one comes free every second
            async with socketio(server.url, None, transport, joins=False) as client:
                seen.append((await refused_at_connect(client, "x"))["message"])
        assert seen[0] == "token_malformed"


# --- How it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
async def test_a_drain_says_so_and_ends_the_transport_without_a_disconnect(tmp_path: Path, transport: Any) -> None:
    async with serving(tmp_path / "data") as server:
        client = SocketIoClient()
        await client.open(server.url, transport, {})
        await client.join(server.token("ada"))
        sessions = server.server.front.engine.sessions
        await until(lambda: all(one._http.is_awaited for one in sessions.values() if one.is_polled))
        server.server.stop()
        assert await client.closed() == (1012, "restarting")
        assert client.news[-1]["params"] == {"code": 1012, "reason": "restarting", "reconnect": True}
        assert not client.disconnected
        await client.leave()


async def test_who_is_between_two_polls_at_a_drain_is_told_so_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "FAREWELLS_S", PATIENCE_S)
    async with serving(tmp_path / "data") as server:
        client = SocketIoClient()
        await client.open(server.url, "polling", {})
        await client.join(server.token("ada"))
        session = server.server.front.engine.sessions[client.engine["sid"]]
        client.rest()
        await client.call("session.describe")
        await client._reading  # the poll that waited had its answer, and no other begins
        server.server.stop()
        await until(lambda: not session.is_open)
        client.poll_on()
        assert await client.closed() == (1012, "restarting")
        assert client.news[-1]["params"] == {"code": 1012, "reason": "restarting", "reconnect": True}
        await client.leave()


async def test_a_clients_disconnect_ends_its_connection(server: HereServer, transport: Any) -> None:
    async with socketio(server.url, server.token("ada"), transport) as ada:
        await ada.send("41")
        await asyncio.wait_for(ada._reading, PATIENCE_S)
    await until(lambda: not list(server.server.parts.connections))


async def test_what_waited_for_a_poll_at_a_revocation_is_not_handed_over(server: HereServer) -> None:
    async with (
        socketio(server.url, server.token("ada"), "polling") as ada,
        server.native(server.token("ben")) as ben,
        server.native(server.token("root", roles=("admin",))) as admin,
    ):
        await ben.call("room.create", room="den")
        await ada.call("room.subscribe", room="den")
        ada.rest()
        await ben.call("message.send", room="den", text="this ends the poll that waits")
        await ada._reading
        await ben.call("message.send", room="den", text="this waits for a poll")
        await admin.call("session.revoke", subject="ada")
        ada.poll_on()
        assert await ada.closed() == (4403, "revoked")
        assert ada.disconnected
        assert len(ada.events("den")) == 1


# --- Malformed input --------------------------------------------------------------------------------------------------

Breaks = Callable[[HereServer, Any], Awaitable[None]]


async def closed_by(server: HereServer, packets: list[str | bytes], *, joins: bool = True) -> SocketIoClient:
    """What a WebSocket session heard before these packets ended it."""
    async with socketio(server.url, server.token("ada") if joins else None, joins=joins) as client:
        assert client.socket is not None
        for packet in packets:
            await client.socket.send(packet)
        await asyncio.wait_for(client._reading, PATIENCE_S)
        return client


@pytest.mark.parametrize(
    "packets",
    [
        ["7"],  # no packet of Engine.IO
        ["abc"],
        [""],
        ["0{}"],  # what only a server says
        ["2"],
        ["2probe"],
        ["5"],
        ["47"],  # no packet of Socket.IO
        ["4"],
        ["4abc"],
        ["42"],
        ["42{}"],
        ["42[]"],
        ["42[null]"],
        ['42abc["session.describe"]'],
        ['42["disconnect"]'],
        ['42["x"'],
        ['45-["x"]'],
        ['45999999999-["x"]'],
        ["45" + "9" * 5000 + '-["x"]'],
        ['4511-["x"]'],
        ['451-["x"]', '42["session.describe"]'],  # an attachment that never comes
        [b"\0\1\2"],  # one that nothing waits for
        ['451-["x"]', b"\0", b"\0"],
        ["43[]"],
        ["40"],  # CONNECT twice
        ['40{"token":"x"}'],
        ['42/admin,["x"]'],
        ["41/admin,"],
        ['44{"message":"x"}'],
    ],
    ids=lambda packets: repr(packets)[:40],
)
async def test_a_packet_that_breaks_the_protocol_ends_its_connection_and_the_server_goes_on(
    server: HereServer, packets: list[str | bytes]
) -> None:
    async with socketio(server.url, server.token("ben")) as ben:
        client = await closed_by(server, packets)
        assert client._close == (4400, "bad_request")
        # Engine.IO's own breaks end the transport; after Socket.IO's the client must not come back by itself.
        closing = [one["params"] for one in client.news if one["method"] == "session.closing"]
        if closing:
            assert closing == [{"code": 4400, "reason": "bad_request", "reconnect": False}]
            assert client.disconnected
        assert (await ben.call("session.describe"))["subject"] == "ben"


@pytest.mark.parametrize("packet", ['42["session.describe"]', '421["room.get",{"room":"den"}]', "41", "43[]", b"\0"])
async def test_before_connect_nothing_else_is_taken(server: HereServer, packet: str | bytes) -> None:
    client = await closed_by(server, [packet], joins=False)
    assert client._close[0] in (4400, 4401)
    assert client.news == []


async def test_broken_packets_over_http_are_answered_and_end_the_session(server: HereServer) -> None:
    for body, status in ((b"4\x1e", 400), (b"abc", 400), (b"42{}", 200), (b'451-["x"]\x1e42["y"]', 200)):
        async with socketio(server.url, server.token("ada"), "polling") as ada:
            assert ada.http is not None
            assert (await ada.http.post(ada._url, content=body)).status_code == status
            await asyncio.wait_for(ada._reading, PATIENCE_S)
            assert (await ada.http.get(ada._url)).status_code == 400
    async with socketio(server.url, server.token("ada")) as ada:
        assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_one_bad_command_never_ends_a_connection(server: HereServer, transport: Any) -> None:
    async with socketio(server.url, server.token("ada"), transport) as ada:
        for name, params, code in (
            ("nothing", {}, "unknown_command"),
            ("room.get", {}, "invalid_params"),
            ("room.get", {"room": "nowhere"}, "not_found"),
            ("room.get", {"room": "a\0b"}, "invalid_params"),
        ):
            with pytest.raises(CommandRefused) as refused:
                await ada.call(name, **params)
            assert refused.value.code == code
        assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_an_attachment_is_invalid_params_and_the_connection_lives(server: HereServer) -> None:
    async with socketio(server.url, server.token("ada")) as ada:
        assert ada.socket is not None
        answer = ada._answers[999] = asyncio.get_running_loop().create_future()
        await ada.socket.send('451-999["message.send",{"room":"den","text":{"_placeholder":true,"num":0}}]')
        await ada.socket.send(b"\0" * 1000)
        said = await asyncio.wait_for(answer, PATIENCE_S)
        assert (said["error"]["code"], said["error"]["data"]["field"]) == ("invalid_params", "text")
        assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_an_unknown_namespace_is_told_so_and_the_session_goes_on(server: HereServer) -> None:
    async with connect(server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.recv()
        await socket.send('40/rooms,{"token":"x"}')
        assert await socket.recv() == '44/rooms,{"message":"Invalid namespace"}'
        await socket.send("40" + json.dumps({"token": server.token("ada")}))
        assert str(await socket.recv()).startswith('40{"sid":')
        await socket.send("40/rooms,")
        assert await socket.recv() == '44/rooms,{"message":"Invalid namespace"}'
