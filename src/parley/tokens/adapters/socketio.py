"""Tokens for python-socketio: its `connect` handler, and each connection's life after it.

    sio = socketio.AsyncServer(async_mode="asgi")
    gate = SocketIOGate(sio, verifier)

    @sio.event
    async def connect(sid, environ, auth):
        claims = await gate.connect(sid, environ, auth)

The client is told `session.expiring {expires_at}`, renews with `emit("session.refresh", {token}, ack)`, and hears
`session.closing {code, reason, reconnect}` before a DISCONNECT. python-socketio has no place where what is sent could
be kept back, so there is no grace: a session that was not renewed ends when its token does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from parley.tokens.adapters.gate import MARGIN_S, Gate
from parley.tokens.adapters.lifetime import Lifetime, refusal_facts
from parley.tokens.bearer import (
    DEFAULT_CARRIERS,
    Endpoint,
    credential_in_authenticate,
    credential_in_socketio_auth,
)
from parley.tokens.claims import AccessClaims
from parley.tokens.errors import TokenRefused
from parley.tokens.tickets import TicketStore
from parley.tokens.verifier import Verifier

try:
    from socketio.exceptions import ConnectionRefusedError
except ImportError:
    raise ImportError("parley.tokens.adapters.socketio needs the library: pip install python-socketio") from None

if TYPE_CHECKING:
    from parley.tokens.adapters.jwks_http import JwksSource

_HANDSHAKE: Final = Endpoint(frozenset({"header", "ticket", "message", "token_header", "query"}))
# python-socketio tells its `disconnect` handler, which is its user's, and nobody else.
_GONE_WITHIN_S: Final = 60.0
_ADMITTING_S: Final = 0.02


class SocketIOGate(Gate):
    """A gate for one `socketio.AsyncServer` and one namespace; it answers the event `session.refresh` itself."""

    def __init__(
        self,
        sio: Any,
        verifier: Verifier,
        *,
        namespace: str = "/",
        carriers: Collection[str] = DEFAULT_CARRIERS,
        tickets: TicketStore | None = None,
        sources: Mapping[str, JwksSource] | None = None,
        margin_s: float = MARGIN_S,
        gone_within_s: float = _GONE_WITHIN_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`gone_within_s`: a connection that its client ended is forgotten after this at most."""
        super().__init__(
            verifier, carriers=carriers, tickets=tickets, sources=sources, margin_s=margin_s, grace_s=0, clock=clock
        )
        self._sio = sio
        self._namespace = namespace
        self._gone_within_s = gone_within_s
        self._sessions: dict[str, Lifetime] = {}
        self._attending: set[asyncio.Task[None]] = set()
        sio.on("session.refresh", self._refresh, namespace=namespace)

    async def connect(self, sid: str, environ: Mapping[str, Any], auth: object = None) -> AccessClaims:
        """Admit a connection, from your `connect` handler, by the token in `auth` or on its handshake.

        Raises: socketio.exceptions.ConnectionRefusedError, which its client reads as a `connect_error` whose `message`
        is the code and whose `data` is `{code, status}`. Let it through.
        """
        try:
            presented = self.find(_headers(environ), environ.get("QUERY_STRING", ""), _HANDSHAKE)
            credential = credential_in_socketio_auth(auth, self.carriers, beside=presented.credential)
            if credential is None:
                raise TokenRefused("token_missing")
            claims = await self.verify(credential)
        except TokenRefused as refusal:
            raise ConnectionRefusedError(refusal.code, refusal_facts(refusal)) from None

        async def notify(event: str, about: dict[str, Any]) -> None:
            await self._admitted(sid)
            await self._sio.emit(event, about, to=sid, namespace=self._namespace)

        lifetime = self._sessions[sid] = Lifetime(self, claims, notify)
        attending = asyncio.ensure_future(self._attend(sid, lifetime))
        self._attending.add(attending)
        attending.add_done_callback(self._attending.discard)
        return claims

    def claims(self, sid: str) -> AccessClaims:
        """Who speaks, for your event handlers: the claims of the token in force now.

        Raises: TokenRefused, also in the moment between a token's expiry and its connection's end.
        """
        lifetime = self._sessions.get(sid)
        if lifetime is None:
            raise TokenRefused("token_missing")
        self.verifier.require_usable(lifetime.claims, self.clock())
        return lifetime.claims

    async def _refresh(self, sid: str, params: object = None) -> dict[str, Any]:
        """Answers the event; what it returns is what the client's ack gets."""
        try:
            lifetime = self._sessions.get(sid)
            credential = credential_in_authenticate(params, {"message"})
            if lifetime is None or credential is None:
                raise TokenRefused("token_missing")
            await lifetime.renew(credential.secret)
        except TokenRefused as refusal:
            return {"error": {**refusal_facts(refusal), "message": refusal.meaning}}
        return {"result": lifetime.session()}

    async def _attend(self, sid: str, lifetime: Lifetime) -> None:
        watching = asyncio.ensure_future(lifetime.watch())
        try:
            with lifetime.registered():
                await self._admitted(sid)
                while not watching.done():
                    if not self._sio.manager.is_connected(sid, self._namespace):
                        return
                    await asyncio.wait({watching}, timeout=self._gone_within_s)
            ending = watching.result()
            await self._sio.emit("session.closing", ending.notice(), to=sid, namespace=self._namespace)
            await self._sio.disconnect(sid, namespace=self._namespace)
        finally:
            watching.cancel()
            self._sessions.pop(sid, None)

    async def _admitted(self, sid: str) -> None:
        """Wait until python-socketio has told the client that it is connected: before, nothing reaches it."""
        while self._sio.manager.is_pre_connected(sid, self._namespace):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(_ADMITTING_S)


def _headers(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    """WSGI's spelling of headers (PEP 3333) turned back."""
    return [
        (name.removeprefix("HTTP_").replace("_", "-"), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    ]
