"""`tokens/adapters/socketio.py`: python-socketio's server behind the gate, spoken to by its own client."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from parley.tokens import AccessClaims, KeySet, RevocationSet, TicketStore, TokenRefused, Verifier
from tests.libraries import library
from tests.tokens.adapters.doors import PATIENCE_S, Clock, served, token
from tests.tokens.forge import KEY

pytestmark = pytest.mark.anyio


class Place:
    """A server with one event, `say`, that tells everybody; `came` has those whom its `connect` handler let in."""

    def __init__(self, **rules: Any) -> None:
        socketio = library("socketio")
        from parley.tokens.adapters.socketio import SocketIOGate

        self.clock, self.revocations = Clock(), RevocationSet()
        self.sio = socketio.AsyncServer(async_mode="asgi")
        verifier = Verifier(KeySet([KEY]), revocations=self.revocations)
        self.gate = SocketIOGate(self.sio, verifier, **{"clock": self.clock, "gone_within_s": 0.02, **rules})
        self.came: list[tuple[str, AccessClaims]] = []
        self.after_admitting_s = 0.0
        self.url = ""
        self.sio.on("connect", self._connect)
        self.sio.on("say", self._say)

    async def _connect(self, sid: str, environ: dict[str, Any], auth: object) -> None:
        self.came.append((sid, await self.gate.connect(sid, environ, auth)))
        await asyncio.sleep(self.after_admitting_s)

    async def _say(self, sid: str, text: str) -> str:
        try:
            await self.sio.emit("said", f"{self.gate.claims(sid).sub}: {text}")
        except TokenRefused as refusal:
            return refusal.code
        return "ok"

    def token(self, sub: str = "ada", **claims: Any) -> str:
        return token(self.clock, sub, **claims)

    def forward(self, seconds: float) -> None:
        self.clock.ahead_s += seconds
        self.gate.recheck()


class Client:
    """python-socketio's client, with what it heard in `heard`."""

    def __init__(self) -> None:
        self.sio = library("socketio").AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for event in ("said", "session.expiring", "session.closing", "connect_error", "disconnect"):
            self.sio.on(event, self._hearing(event))

    def _hearing(self, event: str) -> Any:
        def hear(*data: Any) -> None:
            self.heard.put_nowait((event, data[0] if data else None))

        return hear

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)

    async def call(self, event: str, data: Any) -> Any:
        return await self.sio.call(event, data, timeout=PATIENCE_S)


@asynccontextmanager
async def place(**rules: Any) -> AsyncIterator[Place]:
    here = Place(**rules)
    async with served(library("socketio").ASGIApp(here.sio)) as port:
        here.url = f"http://127.0.0.1:{port}"
        yield here
        await here.sio.shutdown()


@asynccontextmanager
async def client(here: Place, query: str = "", **options: Any) -> AsyncIterator[Client]:
    talking = Client()
    await talking.sio.connect(here.url + query, wait_timeout=PATIENCE_S, retry=False, **options)
    try:
        yield talking
    finally:
        await talking.sio.disconnect()


async def refusal(here: Place, query: str = "", **options: Any) -> Any:
    talking = Client()
    with pytest.raises(library("socketio").exceptions.ConnectionError):
        await talking.sio.connect(here.url + query, wait_timeout=PATIENCE_S, retry=False, **options)
    event, error = await talking.next()
    assert event == "connect_error"
    await talking.sio.disconnect()
    return error


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_token_in_auth_opens_and_says_who_speaks(transport: str) -> None:
    async with place() as here, client(here, auth={"token": here.token()}, transports=[transport]) as ada:
        assert await ada.call("say", "hello") == "ok"
        assert await ada.next() == ("said", "ada: hello")
        ((sid, claims),) = here.came
        assert claims.sub == "ada"
        # From here: the client's own disconnect would wait for its long poll to come back.
        await here.sio.disconnect(sid)
        assert (await ada.next())[0] == "disconnect"


async def test_a_token_on_the_handshake_opens() -> None:
    tickets = TicketStore(secrets.token_bytes)
    async with place(tickets=tickets, carriers={"header", "ticket", "query"}) as here:
        claims = here.gate.verifier.verify(here.token(), here.clock())
        for query, headers in (
            ("", {"Authorization": f"Bearer {here.token()}"}),
            (f"?ticket={tickets.mint(claims, here.clock())}", {}),
            (f"?token={here.token()}", {}),
        ):
            async with client(here, query, headers=headers) as ada:
                assert await ada.call("say", "hello") == "ok"


async def test_a_bad_token_is_a_connect_error_that_says_why() -> None:
    async with place() as here:
        error = await refusal(here, auth={"token": here.token(ttl_s=-10)})
        assert error == {"message": "token_expired", "data": {"code": "token_expired", "status": 401}}
        assert (await refusal(here))["message"] == "token_missing"
        assert (await refusal(here, auth={"token": 7}))["message"] == "token_malformed"
        assert (await refusal(here, f"?token={here.token()}"))["message"] == "carrier_disabled"
        both = {"auth": {"token": here.token()}, "headers": {"Authorization": f"Bearer {here.token()}"}}
        assert (await refusal(here, **both))["message"] == "ambiguous_credentials"
        assert here.came == []
        assert here.gate.live == 0


async def test_a_session_is_warned_and_renewed_in_place() -> None:
    async with place() as here, client(here, auth={"token": here.token(ttl_s=60)}) as ada:
        for _ in range(3):
            here.forward(31)
            event, about = await ada.next()
            assert event == "session.expiring"
            assert about["expires_at"].endswith("Z")
            answer = await ada.call("session.refresh", {"token": here.token(ttl_s=60, roles=["agent"])})
            assert answer["result"]["roles"] == ["agent"]
        ((sid, _),) = here.came
        assert here.gate.claims(sid).roles == ("agent",)
        assert await ada.call("say", "still here") == "ok"
        assert await ada.next() == ("said", "ada: still here")


async def test_little_time_left_is_said_once_the_client_is_connected() -> None:
    async with place() as here, client(here, auth={"token": here.token(ttl_s=20)}) as ada:
        assert (await ada.next())[0] == "session.expiring"


async def test_a_handler_that_takes_its_time_is_not_overtaken_by_what_comes_after_it() -> None:
    """Frame by frame: a client that is not connected yet may throw away what it hears."""
    async with place() as here:
        here.after_admitting_s = 0.1
        url = here.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        async with connect(url) as raw:
            assert str(await raw.recv()).startswith("0{")
            await raw.send("40" + json.dumps({"token": here.token(ttl_s=20)}))
            assert str(await raw.recv()).startswith('40{"sid"')
            assert str(await raw.recv()).startswith('42["session.expiring"')
            here.revocations.revoke_session("s-ada", until_s=here.clock() + 900)
            assert str(await raw.recv()).startswith('42["session.closing"')
            assert await raw.recv() == "41"


async def test_a_token_of_somebody_else_does_not_renew() -> None:
    async with place() as here, client(here, auth={"token": here.token()}) as ada:
        for params, code in (
            ({"token": here.token("ben")}, "subject_mismatch"),
            ({"token": here.token(ttl_s=-10)}, "token_expired"),
            ({}, "token_missing"),
            ("nonsense", "token_missing"),
        ):
            assert (await ada.call("session.refresh", params))["error"]["code"] == code
        assert await ada.call("say", "hello") == "ok"


async def test_one_that_is_not_renewed_ends_with_its_token() -> None:
    async with place() as here, client(here, auth={"token": here.token(ttl_s=60)}) as ada:
        here.forward(31)
        assert (await ada.next())[0] == "session.expiring"
        here.clock.ahead_s += 30  # and nobody told the timers
        assert await ada.call("say", "may I?") == "token_expired"
        here.gate.recheck()
        closing = {"code": 4401, "reason": "token_expired", "reconnect": True}
        assert await ada.next() == ("session.closing", closing)
        assert (await ada.next())[0] == "disconnect"
        await gone(here)


async def test_a_revocation_ends_it_at_once() -> None:
    async with (
        place() as here,
        client(here, auth={"token": here.token()}) as ada,
        client(here, auth={"token": here.token("ben")}) as ben,
    ):
        assert await ada.call("say", "hello") == "ok"
        here.revocations.revoke_session("s-ada", until_s=here.clock() + 900, reason="reported stolen")
        assert await ada.next() == ("said", "ada: hello")
        closing = {"code": 4403, "reason": "reported stolen", "reconnect": False}
        assert await ada.next() == ("session.closing", closing)
        assert (await ada.next())[0] == "disconnect"
        assert await ben.call("say", "still here") == "ok"


async def test_one_revoked_while_it_connects_does_not_stay() -> None:
    async with place() as here:
        admit = here.gate.connect

        async def revoked_meanwhile(*args: Any) -> AccessClaims:
            claims = await admit(*args)
            here.revocations.revoke_session("s-ada", until_s=here.clock() + 900)
            return claims

        here.gate.connect = revoked_meanwhile  # type: ignore[method-assign]
        async with client(here, auth={"token": here.token()}) as ada:
            assert (await ada.next())[0] == "session.closing"
            assert (await ada.next())[0] == "disconnect"


async def test_one_that_has_gone_leaves_nothing_behind() -> None:
    async with place() as here:
        async with client(here, auth={"token": here.token()}) as ada:
            assert await ada.call("say", "hello") == "ok"
            assert here.gate.live == 1
        await gone(here)
        ((sid, _),) = here.came
        with pytest.raises(TokenRefused, match="token_missing"):
            here.gate.claims(sid)


async def gone(here: Place) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while here.gate.live:
            await asyncio.sleep(0.005)
