"""One story of a token on a socket, told at the door of each framework, by the client of the library `websockets`."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parley.tokens import TicketStore, TokenRefused
from parley.tokens.adapters.lifetime import rfc3339
from tests.tokens.adapters.doors import PATIENCE_S, Door, each_framework, opened

pytestmark = [pytest.mark.anyio, each_framework]


def by_header(door: Door, token: str, **options: Any) -> Any:
    return connect(door.url, additional_headers={"Authorization": f"Bearer {token}"}, **options)


def by_page(door: Door, token: str) -> Any:
    """As a page does it: `new WebSocket(url, ["chat.v1", "bearer." + token])`."""
    return connect(door.url, subprotocols=["chat.v1", f"bearer.{token}"])  # type: ignore[list-item]


async def received(client: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))


async def ask(client: ClientConnection, method: str, **params: Any) -> Any:
    await client.send(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
    answer = await received(client)
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
    return answer.get("result") or answer["error"]


async def closed(client: ClientConnection) -> tuple[int | None, str, list[str]]:
    """How it was closed, and what was said before."""
    said: list[str] = []
    try:
        while True:
            said.append(str(await asyncio.wait_for(client.recv(), PATIENCE_S)))
    except ConnectionClosed:
        return client.close_code, client.close_reason or "", said


async def refused(opening: Any) -> Any:
    with pytest.raises(InvalidStatus) as refusal:
        await opening
    return refusal.value.response


async def test_a_token_in_the_header_opens_and_says_who_speaks(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token()) as client:
        await client.send("hello")
        assert await client.recv() == "ada: hello"
        await client.send(b"\x00\xff")
        assert await client.recv() == b"\x00\xff"
        assert client.subprotocol is None
        assert (await door.inside.get()).claims.sub == "ada"


async def test_a_token_beside_the_subprotocol_opens_and_is_not_echoed(framework: str) -> None:
    async with opened(framework) as door:
        token = door.token()
        async with by_page(door, token) as client:
            assert client.subprotocol == "chat.v1"
            assert client.response is not None
            assert token not in str(client.response.headers)
            await client.send("hello")
            assert await client.recv() == "ada: hello"


async def test_a_ticket_opens_once(framework: str) -> None:
    tickets = TicketStore(secrets.token_bytes)
    async with opened(framework, tickets=tickets) as door:
        claims = door.gate.verifier.verify(door.token(), door.clock())
        url = f"{door.url}?ticket={tickets.mint(claims, door.clock())}"
        async with connect(url) as client:
            await client.send("hello")
            assert await client.recv() == "ada: hello"
        async with connect(url) as client:
            assert await closed(client) == (4401, "ticket_invalid", [])
        url = f"{door.url}?ticket={tickets.mint(claims, door.clock())}"
        door.revocations.revoke_session(claims.sid, until_s=door.clock() + 900)
        async with connect(url) as client:
            assert await closed(client) == (4401, "token_revoked", [])


async def test_a_bad_token_in_the_header_is_refused_by_http(framework: str) -> None:
    async with opened(framework) as door:
        response = await refused(by_header(door, door.token(ttl_s=-10)))
        assert response.status_code == 401
        assert response.headers["Content-Type"] == "application/problem+json"
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        problem = json.loads(response.body)
        assert (problem["code"], problem["status"], problem["title"]) == ("token_expired", 401, "Unauthorized")
        assert door.inside.empty()
        assert door.gate.live == 0


async def test_a_bad_token_of_a_page_is_refused_on_an_open_socket(framework: str) -> None:
    async with opened(framework) as door:
        token = door.token(ttl_s=-10)
        async with by_page(door, token) as client:
            assert client.subprotocol == "chat.v1"
            assert await closed(client) == (4401, "token_expired", [])
        async with by_page(door, token[:-4] + "AAAA") as client:
            assert await closed(client) == (4401, "token_bad_signature", [])
        assert door.inside.empty()


async def test_what_is_wrong_with_the_request_itself_is_refused_by_http(framework: str) -> None:
    async with opened(framework) as door:
        token = door.token()
        for headers, query, status, code in (
            ({"Sec-WebSocket-Protocol": "other.v1"}, "", 400, "unsupported_subprotocol"),
            ({"Authorization": f"Bearer {token}", "Sec-WebSocket-Protocol": "chat.v1, bearer.x"}, "", 400, "ambiguous"),
            ({"token": token}, "", 401, "carrier_disabled"),
            ({}, f"?token={token}", 401, "carrier_disabled"),
            ({}, "?ticket=x", 401, "carrier_disabled"),
        ):
            # The client library would not send a subprotocol header of somebody else's making beside its own.
            response = await refused(connect(door.url + query, additional_headers=headers))
            assert response.status_code == status
            assert json.loads(response.body)["code"].startswith(code)


async def test_a_legacy_carrier_that_is_on_opens(framework: str) -> None:
    async with opened(framework, carriers={"token_header", "query"}) as door:
        for query, headers in ((f"?token={door.token()}", {}), ("", {"token": door.token()})):
            async with connect(door.url + query, additional_headers=headers) as client:
                await client.send("hello")
                assert await client.recv() == "ada: hello"
        response = await refused(connect(door.url))
        assert (response.status_code, json.loads(response.body)["code"]) == (401, "token_missing")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="parley"'


async def test_without_a_credential_the_first_message_brings_it(framework: str) -> None:
    async with opened(framework) as door, connect(door.url) as client:
        session = await ask(client, "session.authenticate", token=door.token(name="Ada L."))
        assert (session["subject"], session["name"], session["roles"]) == ("ada", "Ada L.", ["member"])
        await client.send("hello")
        assert await client.recv() == "ada: hello"
        again = await ask(client, "session.authenticate", token=door.token())
        assert again["data"]["code"] == "conflict"


@pytest.mark.parametrize("first", ["hello", b"\x00", '{"id": 1, "method": "say"}', "[]", '{"id": {}}', "[" * 5000])
async def test_a_first_message_that_is_anything_else_ends_it(framework: str, first: str | bytes) -> None:
    async with opened(framework) as door, connect(door.url) as client:
        await client.send(first)
        code, reason, said = await closed(client)
        assert (code, reason) == (4401, "token_missing")
        assert [json.loads(one)["error"]["data"]["code"] for one in said] == ["token_missing"]
        assert door.inside.empty()


async def test_a_first_message_with_a_bad_token_ends_it_with_that_code(framework: str) -> None:
    async with opened(framework) as door, connect(door.url) as client:
        error = await ask(client, "session.authenticate", token=door.token(ttl_s=-10))
        assert error["data"] == {"code": "token_expired", "status": 401}
        assert await closed(client) == (4401, "token_expired", [])


async def test_no_first_message_in_time_ends_it(framework: str) -> None:
    async with opened(framework, authenticate_within_s=0.05) as door, connect(door.url) as client:
        assert await closed(client) == (4408, "authentication_timeout", [])


async def test_a_socket_is_warned_and_renewed_in_place(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=60)) as client:
        await client.send("hello")
        assert await client.recv() == "ada: hello"
        inside = await door.inside.get()
        for round_ in range(3):
            door.forward(31)
            warned = await received(client)
            assert warned["method"] == "session.expiring"
            assert warned["params"] == {"expires_at": rfc3339(inside.claims.exp)}
            session = await ask(client, "session.refresh", token=door.token(ttl_s=60, roles=["member", "agent"]))
            assert (session["subject"], session["roles"]) == ("ada", ["member", "agent"])
            assert inside.claims.roles == ("member", "agent")
            await client.send(f"still here {round_}")
            assert await client.recv() == f"ada: still here {round_}"


async def test_little_time_left_is_said_at_once(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=20)) as client:
        assert (await received(client))["method"] == "session.expiring"


async def test_a_renewal_by_a_shorter_token_is_warned_by_that_ones_end(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=900)) as client:
        await client.send("hello")
        assert await client.recv() == "ada: hello"
        assert "expires_at" in await ask(client, "session.refresh", token=door.token(ttl_s=20))
        assert (await received(client))["method"] == "session.expiring"


async def test_a_token_of_somebody_else_does_not_renew_and_the_old_one_stays(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=60)) as client:
        inside = await door.inside.get()
        for other, code in (
            (door.token("ben"), "subject_mismatch"),
            (door.token(type="service"), "subject_mismatch"),
            (door.token(ttl_s=-10), "token_expired"),
            ("nonsense", "token_malformed"),
        ):
            assert (await ask(client, "session.refresh", token=other))["data"]["code"] == code
        assert (await ask(client, "session.refresh"))["data"]["code"] == "token_missing"
        assert (inside.claims.sub, inside.is_held) == ("ada", False)
        await client.send("hello")
        assert await client.recv() == "ada: hello"


async def test_from_its_expiry_on_nothing_passes_in_either_direction_until_it_is_renewed(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=60)) as client:
        inside = await door.inside.get()
        door.forward(31)
        assert (await received(client))["method"] == "session.expiring"
        door.clock.ahead_s += 30  # and nobody told the timers: the clock alone decides
        assert inside.is_held
        news = [asyncio.ensure_future(door.say(inside, text)) for text in ("one", "two")]
        error = await ask(client, "say", text="may I?")
        assert error["data"]["code"] == "token_expired"
        await client.send("no JSON")
        answer = await received(client)
        assert (answer["id"], answer["error"]["data"]["code"]) == (None, "token_expired")
        assert not any(one.done() for one in news)
        assert (await ask(client, "session.refresh", token=door.token()))["subject"] == "ada"
        assert [await client.recv(), await client.recv()] == ["one", "two"]
        await asyncio.gather(*news)


async def test_one_that_is_not_renewed_is_told_and_closed_after_the_grace(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=60)) as client:
        inside = await door.inside.get()
        door.forward(61)
        assert (await received(client))["method"] == "session.expiring"
        news = asyncio.ensure_future(door.say(inside, "nobody may read this"))
        door.forward(25)
        code, reason, said = await closed(client)
        assert (code, reason) == (4401, "token_expired")
        (closing,) = (json.loads(one) for one in said)
        assert closing["method"] == "session.closing"
        assert closing["params"] == {"code": 4401, "reason": "token_expired", "reconnect": True}
        with pytest.raises((ConnectionClosed, WebSocketDisconnect)):
            await news
        await gone(door)


async def test_without_grace_the_socket_ends_with_its_token(framework: str) -> None:
    """No clock is moved here: the timers do it."""
    async with opened(framework, grace_s=0) as door:
        left_s = 1 - time.time() % 1  # `iat` is a whole second, and so is this `exp`
        async with by_header(door, door.token(ttl_s=1 if left_s > 0.4 else 2)) as client:
            code, reason, _ = await closed(client)
            assert (code, reason) == (4401, "token_expired")


@pytest.mark.parametrize("what", ["token", "session", "subject"])
async def test_a_revocation_closes_what_it_covers_at_once_and_nothing_else(framework: str, what: str) -> None:
    async with (
        opened(framework) as door,
        by_header(door, door.token(jti="stolen")) as ada,
        by_page(door, door.token("ben")) as ben,
    ):
        await ben.send("hello")
        assert await ben.recv() == "ben: hello"
        while (inside := await door.inside.get()).claims.sub != "ada":
            pass
        later = door.clock() + 2
        match what:
            case "token":
                door.revocations.revoke_token("stolen", until_s=later + 900, reason="reported stolen")
            case "session":
                door.revocations.revoke_session("s-ada", until_s=later + 900, reason="reported stolen")
            case "subject":
                # From a thread, as whoever polls a database would.
                await asyncio.to_thread(
                    door.revocations.revoke_subject,
                    "ada",
                    before_s=later,
                    until_s=later + 900,
                    reason="reported stolen",
                )
        code, reason, said = await closed(ada)
        assert (code, reason) == (4403, "reported stolen")
        (closing,) = (json.loads(one) for one in said)
        assert closing["params"] == {"code": 4403, "reason": "reported stolen", "reconnect": False}
        assert inside.is_held
        await ben.send("hello")
        assert await ben.recv() == "ben: hello"


async def test_a_handler_that_never_reads_is_renewed_and_ended_like_any_other(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=60, name="deaf")) as client:
        inside = await door.inside.get()
        await client.send("nobody reads this")
        assert (await ask(client, "session.refresh", token=door.token(ttl_s=60, roles=["admin"])))["roles"] == ["admin"]
        assert inside.claims.roles == ("admin",)
        door.revocations.revoke_session("s-ada", until_s=door.clock() + 900)
        assert (await closed(client))[:2] == (4403, "revoked")


async def test_a_session_may_be_renewed_by_a_message_of_ones_own(framework: str) -> None:
    async with opened(framework) as door, by_header(door, door.token(ttl_s=60)):
        inside = await door.inside.get()
        assert (await inside.renew(door.token(roles=["agent"]))).roles == ("agent",)
        with pytest.raises(TokenRefused, match="subject_mismatch"):
            await inside.renew(door.token("ben"))
        assert inside.claims.roles == ("agent",)


async def test_a_socket_that_has_gone_leaves_nothing_behind(framework: str) -> None:
    async with opened(framework) as door:
        async with by_header(door, door.token()) as client:
            await client.send("hello")
            await client.recv()
            assert door.gate.live == 1
        await gone(door)
        async with by_header(door, door.token()) as client:
            await client.send("hello")
            await client.recv()
            assert client.transport is not None
            client.transport.abort()
        await gone(door)


async def gone(door: Door) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while door.gate.live:
            await asyncio.sleep(0.005)
