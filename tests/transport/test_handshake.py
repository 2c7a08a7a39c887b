"""Who may open `/ws`: every refusal by its code, in the contract's order, said where its reader can read it."""

import asyncio
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parley.domain.errors import Refusal
from tests.here import serving
from tests.serving import PATIENCE_S, CommandRefused, ServerProcess, native
from tests.transport.wire import masked, request_head

pytestmark = pytest.mark.anyio

FOREIGN = "https://evil.example"
SECRET = "a-secret-of-the-tests-0123456789abcdef"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("handshake") / "data"
    settings = {"limits__bad_tokens_per_s": 0, "limits__pending_per_address": 0}
    with ServerProcess(data, "--demo", **settings) as server:
        yield server
        assert "eyJ" not in server.log, "a credential reached the log"


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The two legacy carriers on, the message off."""
    data = tmp_path_factory.mktemp("legacy") / "data"
    settings = {
        "auth__carriers": "header,token_header,query",
        "auth__algorithm": "HS256",
        "auth__secret": SECRET,
        "limits__bad_tokens_per_s": 0,
    }
    with ServerProcess(data, "--demo", **settings) as server:
        yield server
        assert "eyJ" not in server.log, "a credential reached the log"


async def ask(server: ServerProcess, *lines: str, path: str = "/ws") -> tuple[int, dict[str, str], Any]:
    """Status, headers and problem of one upgrade request; 101 without a body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request_head(path, *lines))
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).decode("latin-1")
        first, *rest = head.split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        status = int(first.split()[1])
        body = None if status == 101 else json.loads(await reader.read())
        return status, headers, body
    finally:
        writer.close()


async def refused_by_http(server: ServerProcess, *lines: str, path: str = "/ws") -> tuple[int, str]:
    status, headers, problem = await ask(server, *lines, path=path)
    assert headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    if status == 401:
        assert headers["www-authenticate"].startswith("Bearer ")
    return status, problem["code"]


def spoiled(token: str) -> str:
    """The same token with another signature."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{signature[:-8]}{'AAAAAAAA' if not signature.endswith('AAAAAAAA') else 'BBBBBBBB'}"


class TestAdmission:
    async def test_a_header_admits_and_no_subprotocol_is_selected(self, server: ServerProcess) -> None:
        token = server.token("ada")
        status, headers, _ = await ask(server, f"Authorization: Bearer {token}")
        assert status == 101
        assert "sec-websocket-protocol" not in headers

    async def test_a_target_that_is_a_whole_url_is_the_same(self, server: ServerProcess) -> None:
        url = f"http://127.0.0.1:{server.port}/ws"
        assert (await ask(server, f"Authorization: Bearer {server.token('ada')}", path=url))[0] == 101
        assert await refused_by_http(server, path=url.removesuffix("ws") + "wss") == (404, "not_found")

    async def test_a_subprotocol_admits_and_is_never_echoed(self, server: ServerProcess) -> None:
        token = server.token("ada")
        status, headers, _ = await ask(server, f"Sec-WebSocket-Protocol: parley.v1, bearer.{token}")
        assert status == 101
        assert headers["sec-websocket-protocol"] == "parley.v1"
        assert token not in str(headers)

    async def test_a_first_message_admits(self, server: ServerProcess) -> None:
        async with native(server) as client:
            described = await client.call("session.authenticate", token=server.token("ada"))
            assert described["subject"] == "ada"
            with pytest.raises(CommandRefused) as refusal:
                await client.call("session.authenticate", token=server.token("ada"))
            assert refusal.value.code == "conflict"

    async def test_a_ticket_admits_once(self, server: ServerProcess) -> None:
        status, body = server.post("/auth/tickets", {}, server.token("ada"))
        assert status == 201
        async with connect(f"{server.ws_url}?ticket={body['ticket']}") as socket:
            await socket.send('{"jsonrpc":"2.0","id":1,"method":"session.describe"}')
            assert json.loads(await socket.recv())["result"]["subject"] == "ada"
        assert await closed_at_once(server, f"?ticket={body['ticket']}") == (4401, "ticket_invalid")

    @pytest.mark.parametrize("carrier", ["token_header", "query"])
    async def test_the_legacy_carriers_admit_where_they_are_on(self, legacy: ServerProcess, carrier: str) -> None:
        token = legacy.token("ada")
        line, path = ([f"token: {token}"], "/ws") if carrier == "token_header" else ([], f"/ws?token={token}")
        assert (await ask(legacy, *line, path=path))[0] == 101


async def closed_at_once(server: ServerProcess, query: str = "", token: str | None = None) -> tuple[int | None, str]:
    protocols = ["parley.v1"] + ([f"bearer.{token}"] if token is not None else [])
    async with connect(server.ws_url + query, subprotocols=protocols) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "parley.v1"
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
        return socket.close_code, socket.close_reason or ""


class TestRefusals:
    async def test_a_bad_header_is_refused_before_the_upgrade(self, server: ServerProcess) -> None:
        for token, code in (
            ("nonsense", "token_malformed"),
            (spoiled(server.token("ada")), "token_bad_signature"),
            (server.token("ada", ttl_s=-5), "token_expired"),
        ):
            assert await refused_by_http(server, f"Authorization: Bearer {token}") == (401, code)

    async def test_a_bad_subprotocol_or_ticket_is_accepted_and_closed_with_the_code(
        self, server: ServerProcess
    ) -> None:
        assert await closed_at_once(server, token="nonsense") == (4401, "token_malformed")
        assert await closed_at_once(server, token=spoiled(server.token("ada"))) == (4401, "token_bad_signature")
        assert await closed_at_once(server, token=server.token("ada", ttl_s=-5)) == (4401, "token_expired")
        assert await closed_at_once(server, "?ticket=nonsense") == (4401, "ticket_invalid")

    async def test_none_at_all_is_accepted_and_closed_after_a_while(self, tmp_path: Path) -> None:
        async with serving(tmp_path / "data") as server, connect(server.ws_url) as socket:
            await (await socket.ping())
            server.move(5.1)
            await asyncio.wait_for(socket.wait_closed(), PATIENCE_S)
            assert (socket.close_code, socket.close_reason) == (4408, "authentication_timeout")

    @pytest.mark.parametrize(
        ("first", "answered", "reason"),
        [
            ('{"jsonrpc":"2.0","id":7,"method":"session.describe"}', "token_missing", "token_missing"),
            ('[{"jsonrpc":"2.0","id":7,"method":"session.authenticate","params":{"token":"x"}}]', "token_missing", ""),
            ("not json", "parse_error", "token_missing"),
            ('{"jsonrpc":"2.0","id":7,"method":"session.authenticate"}', "invalid_params", "token_missing"),
            (
                '{"jsonrpc":"2.0","id":7,"method":"session.authenticate","params":{"token":"x"}}',
                "token_malformed",
                "token_malformed",
            ),
            (b"\x00\x01", "token_missing", "token_missing"),
            (" " * 17_000 + "{}", "too_large", "token_missing"),
            (
                '{"jsonrpc":"2.0","id":7,"method":"session.authenticate","params":{"token":"' + "x" * 17_000 + '"}}',
                "too_large",
                "token_missing",
            ),
        ],
        ids=[
            "another method",
            "a batch",
            "not JSON",
            "no token",
            "a bad token",
            "binary",
            "odd and too large",
            "too large",
        ],
    )
    async def test_a_first_message_must_authenticate_and_nothing_else(
        self, server: ServerProcess, first: str | bytes, answered: str, reason: str
    ) -> None:
        async with connect(server.ws_url, subprotocols=["parley.v1"]) as socket:  # type: ignore[list-item]
            await socket.send(first)
            answer = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
            assert answer["error"]["data"]["code"] == answered
            assert answer["id"] == (7 if isinstance(first, str) and first.startswith('{"jsonrpc"') else None)
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), PATIENCE_S)
            assert (socket.close_code, socket.close_reason) == (4401, reason or "token_missing")

    async def test_without_the_message_carrier_none_at_all_is_http(self, legacy: ServerProcess) -> None:
        assert await refused_by_http(legacy) == (401, "token_missing")

    async def test_a_carrier_that_is_off_is_refused_by_name(self, server: ServerProcess, legacy: ServerProcess) -> None:
        token = server.token("ada")
        assert await refused_by_http(server, path=f"/ws?token={token}") == (401, "carrier_disabled")
        status, _, problem = await ask(server, f"token: {token}")
        assert (status, problem["code"], problem["carrier"]) == (401, "carrier_disabled", "token_header")
        assert "`token_header`" in problem["detail"]
        offered = f"Sec-WebSocket-Protocol: parley.v1, bearer.{token}"
        assert await refused_by_http(legacy, offered) == (401, "carrier_disabled")

    async def test_two_different_credentials_are_ambiguous_and_the_same_twice_is_one(
        self, server: ServerProcess
    ) -> None:
        one, other = server.token("ada"), server.token("ben")
        offered = f"Sec-WebSocket-Protocol: parley.v1, bearer.{one}"
        assert await refused_by_http(server, f"Authorization: Bearer {other}", offered) == (
            400,
            "ambiguous_credentials",
        )
        assert (await ask(server, f"Authorization: Bearer {one}", offered))[0] == 101
        assert (await ask(server, "Authorization: Basic YTpi", offered))[0] == 101

    @pytest.mark.parametrize("offered", ["chat", "bearer.x", "graphql-transport-ws, bearer.x"])
    async def test_only_unknown_subprotocols_are_refused(self, server: ServerProcess, offered: str) -> None:
        assert await refused_by_http(server, f"Sec-WebSocket-Protocol: {offered}") == (400, "unsupported_subprotocol")

    @pytest.mark.parametrize("path", ["/wss", "/ws/", "/socket.io", "/streams/radio/hear", "/streams/a%20b/listen"])
    async def test_an_unknown_path_is_not_found(self, server: ServerProcess, path: str) -> None:
        assert await refused_by_http(server, path=path) == (404, "not_found")

    @pytest.mark.parametrize("path", ["/rpc", "/auth/login", "/conversations"])
    async def test_a_path_that_takes_another_method_and_no_socket_says_which(
        self, server: ServerProcess, path: str
    ) -> None:
        status, headers, problem = await ask(server, path=path)
        assert (status, problem["code"], headers["allow"]) == (405, "method_not_allowed", "POST, OPTIONS")

    async def test_where_there_is_no_socket_a_request_for_one_is_answered_without(self, server: ServerProcess) -> None:
        status, headers, keys = await ask(server, path="/.well-known/jwks.json")
        assert (status, headers["connection"]) == (200, "close")
        assert keys["keys"]

    @pytest.mark.parametrize("origin", [FOREIGN, "null", "http://127.0.0.1:1", ""])
    async def test_a_foreign_origin_is_denied_by_name(self, server: ServerProcess, origin: str) -> None:
        status, _, problem = await ask(server, f"Origin: {origin}", f"Authorization: Bearer {server.token('ada')}")
        assert (status, problem["code"]) == (403, "origin_denied")
        assert origin in problem["detail"]
        assert "PARLEY_ALLOWED_ORIGINS" in problem["detail"]

    async def test_its_own_origin_is_admitted(self, server: ServerProcess) -> None:
        for host in ("localhost", "127.0.0.1"):
            origin = f"Origin: http://{host}:{server.port}"
            assert (await ask(server, origin, f"Authorization: Bearer {server.token('ada')}"))[0] == 101


class TestOrder:
    """What is checked first is reported."""

    async def test_each_fault_hides_those_behind_it(self, server: ServerProcess) -> None:
        token = server.token("ada", ttl_s=-5)
        faults: list[tuple[str, str, list[str]]] = [
            ("origin_denied", "", [f"Origin: {FOREIGN}"]),
            ("unsupported_subprotocol", "", ["Sec-WebSocket-Protocol: chat"]),
            ("ambiguous_credentials", "?token=x", ["Authorization: Bearer y"]),
            ("carrier_disabled", "?token=x", []),
            ("token_expired", "", [f"Authorization: Bearer {token}"]),
        ]
        for first, (code, query, lines) in enumerate(faults):
            for other_code, other_query, other_lines in faults[first + 1 :]:
                if {code, other_code} == {"carrier_disabled", "token_expired"}:
                    continue  # together they are two credentials
                together = [*lines, *(line for line in other_lines if line.split(":")[0] not in str(lines))]
                status, told = await refused_by_http(server, *together, path="/ws" + (query or other_query))
                assert told == code, f"{code} before {other_code}, got {status} {told}"

    async def test_a_full_node_refuses_before_any_token_work(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", "--demo", limits__connections_total=1) as server:
            async with native(server, server.token("ada")) as client:
                await client.call("session.describe")
                assert await refused_by_http(server, f"Origin: {FOREIGN}", "Authorization: Bearer x") == (
                    503,
                    "overloaded",
                )


class TestLimits:
    async def test_those_who_bring_nothing_are_few_and_those_with_a_credential_are_not_counted(
        self, tmp_path: Path
    ) -> None:
        with ServerProcess(tmp_path / "data", "--demo", limits__pending_per_address=2) as server:
            async with native(server), native(server):
                with pytest.raises(InvalidStatus) as full:
                    async with native(server):
                        pass
                assert full.value.response.status_code == 503
                assert json.loads(full.value.response.body)["code"] == "overloaded"
                async with native(server, server.token("ada")) as client:
                    await client.call("session.describe")

    async def test_too_many_bad_tokens_are_429_and_good_ones_pass(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", "--demo", limits__bad_tokens_per_s=3) as server:
            told: list[tuple[int, str]] = []
            while (429, "rate_limited") not in told:  # three come free every second
                told.append(await refused_by_http(server, "Authorization: Bearer x"))
            assert told[:3] == [(401, "token_malformed")] * 3
            assert (await closed_at_once(server, token="x"))[0] in (4429, 4401)
            assert (await ask(server, f"Authorization: Bearer {server.token('ada')}"))[0] == 101

    async def test_one_connection_too_many_replaces_the_longest_silent(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", "--demo", limits__connections=2) as server:
            token = server.token("ada")
            async with native(server, token) as first, native(server, token) as second:
                await second.call("session.describe")
                for _ in range(20):  # some milliseconds, in which the second is silent
                    await first.call("session.describe")
                async with native(server, token) as third:
                    await third.call("session.describe")
                    assert await second.closed() == (4409, "replaced")
                    assert second.news[-1]["params"] == {"code": 4409, "reason": "replaced", "reconnect": False}
                    await first.call("session.describe")

    async def test_a_binary_message_is_1003_and_one_too_large_1009(self, server: ServerProcess) -> None:
        for message, code in ((b"\x00", 1003), ("x" * 131_073, 1009)):
            async with connect(
                server.ws_url, additional_headers={"Authorization": f"Bearer {server.token('ada')}"}
            ) as s:
                await s.send(message)
                await asyncio.wait_for(s.wait_closed(), PATIENCE_S)
                assert s.close_code == code

    async def test_a_limit_of_0_is_off(self, tmp_path: Path) -> None:
        off = (
            "message_chars",
            "request_bytes",
            "replay_bytes",
            "slow_consumer_bytes",
            "messages_per_s",
            "ping_interval",
        )
        async with serving(tmp_path / "data", demo=True, **{f"limits__{name}": 0 for name in off}) as server:
            options = {"max_size": None}
            async with server.native(server.token("ada"), **options) as ada:
                await ada.call("room.join", room="lobby")
                for _ in range(3):
                    await ada.call("message.send", room="lobby", text="x" * 300_000)
                caught_up = await ada.call("room.subscribe", room="lobby", after=0)
                assert caught_up["complete"]
                assert len(caught_up["events"][-1]["data"]["message"]["text"]) == 300_000

    @pytest.mark.parametrize("timeout_s", [10, 0])
    async def test_who_never_sends_anything_is_dead_after_interval_and_timeout_unless_that_is_off(
        self, tmp_path: Path, timeout_s: int
    ) -> None:
        async with serving(tmp_path / "data", limits__ping_interval=10, limits__ping_timeout=timeout_s) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
            writer.write(request_head("/ws", f"Authorization: Bearer {server.token('ada')}"))
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            server.move(10)
            assert await asyncio.wait_for(reader.readexactly(2), PATIENCE_S) == b"\x89\x00"
            server.move(5)
            assert len(server.server.parts.connections) == 1
            server.move(5)
            if timeout_s:
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.read(), PATIENCE_S)
            else:
                assert len(server.server.parts.connections) == 1
            writer.close()

    async def test_subscriptions_are_bounded_also_when_asked_for_at_once(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", "--demo", limits__subscriptions=3) as server:
            async with native(server, server.token("ada")) as client:
                for number in range(5):
                    await client.call("room.create", room=f"r{number}")
                asked = [client.call("room.subscribe", room=f"r{number}") for number in range(5)]
                told = await asyncio.gather(*asked, return_exceptions=True)
                refused = [one for one in told if isinstance(one, CommandRefused)]
                assert [one.code for one in refused] == ["limit_exceeded"] * 2

    async def test_messages_over_the_rate_are_refused_and_the_connection_lives(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", "--demo") as server:
            async with native(server, server.login("ada")) as client:
                sent = [client.call("message.send", room="lobby", text=f"{n}") for n in range(100)]
                told = await asyncio.gather(*sent, return_exceptions=True)
                refused = [one for one in told if isinstance(one, CommandRefused)]
                assert {one.code for one in refused} == {"rate_limited"}
                assert 1 <= len(refused) <= 80
                assert all(one.data["retry_after"] > 0 for one in refused)
                await client.call("session.describe")


async def test_a_message_in_the_segment_of_the_upgrade_is_read(server: ServerProcess) -> None:
    """Conforming clients wait for the 101; those who do not lose nothing here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = request_head("/ws", f"Authorization: Bearer {server.token('ada')}")
    writer.write(head + masked(0x81, b'{"jsonrpc":"2.0","id":1,"method":"session.describe"}'))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    first, size = struct.unpack("!BB", await asyncio.wait_for(reader.readexactly(2), PATIENCE_S))
    assert first == 0x81
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    assert json.loads(await reader.readexactly(size))["result"]["subject"] == "ada"
    writer.close()


async def heard(socket: ClientConnection, told: list[str]) -> None:
    """Everything until it is closed."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            told.append(str(await socket.recv()))


class TestWhereTheStoreIsAway:
    """Nothing is wrong with the token: its bearer comes back with it, by the rule of each client."""

    FIRST: ClassVar = {
        "native": (
            "/ws",
            "parley.v1",
            '{"jsonrpc":"2.0","id":1,"method":"session.authenticate","params":{"token":"%s"}}',
        ),
        "graphql": ("/graphql", "graphql-transport-ws", '{"type":"connection_init","payload":{"token":"%s"}}'),
        "socketio": ("/socket.io/?EIO=4&transport=websocket", None, '40{"token":"%s"}'),
    }

    @pytest.mark.parametrize("door", FIRST)
    async def test_a_first_message_ends_with_1013(
        self, tmp_path: Path, door: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, protocol, first = self.FIRST[door]
        async with serving(tmp_path / "data") as server:
            monkeypatch.setattr(server.store, "read", lambda job: job.done(Refusal("unavailable")))
            url = server.url.replace("http", "ws", 1) + path
            async with connect(url, subprotocols=protocol and [protocol]) as socket:  # type: ignore[list-item]
                await socket.send(first % server.token("ada"))
                with pytest.raises(ConnectionClosed):
                    await heard(socket, told := [])
                assert (socket.close_code, socket.close_reason) == (1013, "overloaded")
        # socket.io-client never comes back by itself after a CONNECT_ERROR.
        assert [message[:2] for message in told] == {"native": ['{"'], "graphql": [], "socketio": ["0{"]}[door]
