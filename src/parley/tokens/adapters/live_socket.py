"""One WebSocket under a token: what concerns the session is answered here, the rest is its handler's.

The messages are those of Parley's native dialect, JSON-RPC 2.0 in text: the client asks `session.authenticate {token}`
(first message, where none came before) and `session.refresh {token}`; it is told `session.expiring {expires_at}` and
`session.closing {code, reason, reconnect}`. Everything else goes to the handler as it came.

Knows no framework: an adapter hands in its `Wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from parley.tokens.adapters.gate import Gate
from parley.tokens.adapters.lifetime import Lifetime, refusal_facts
from parley.tokens.bearer import credential_in_authenticate
from parley.tokens.claims import AccessClaims
from parley.tokens.errors import TokenRefused

# Read ahead of the handler, so that a renewal is heard while it works; then reading stops until it has caught up.
READ_AHEAD_MAX: Final = 16
# A message that brings a token has at most 16 KiB; what is longer is not looked into.
SESSION_MESSAGE_CHARS_MAX: Final = 16_384


class Wire(Protocol):
    """An open WebSocket. `receive` gives None when the peer has gone; `send` and `close` raise nothing for that."""

    async def receive(self) -> str | bytes | None: ...

    async def send(self, text: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


class LiveSocket:
    """One socket's session, from its first message to its end."""

    def __init__(self, gate: Gate, wire: Wire) -> None:
        self.lifetime: Lifetime | None = None
        self._gate = gate
        self.wire = wire
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(READ_AHEAD_MAX)
        self._closed = asyncio.Event()

    async def admit(self, claims: AccessClaims | None) -> AccessClaims | None:
        """Begin the session of these claims; without any, of those that the first message brings.

        None: it was refused, and the socket is closed.
        """
        if claims is None:
            claims = await self._authenticated()
        if claims is not None:
            self.lifetime = Lifetime(self._gate, claims, self._notify)
        return claims

    async def attend(self, handler: Callable[[], Awaitable[None]]) -> None:
        """Run the handler, and beside it what renews and ends the session; when it returns, all of that is over."""
        assert self.lifetime is not None
        with self.lifetime.registered():
            beside = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._end_in_time(self.lifetime))]
            try:
                await handler()
            finally:
                self._closed.set()
                for task in beside:
                    task.cancel()
                outcomes = await asyncio.gather(*beside, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def receive(self) -> str | bytes | None:
        """The next message for the handler, None when there will be none."""
        message = await self._incoming.get()
        if message is None:
            self._incoming.put_nowait(None)
        else:
            self._room.release()
        return message

    async def usable(self) -> None:
        """Wait while nothing may be handed to the socket; once it is closed, sending says so by itself."""
        assert self.lifetime is not None
        await self.lifetime.usable()
        if self.lifetime.is_over:
            # Between the end and the closing nothing more may slip out.
            await self._closed.wait()

    async def _read(self) -> None:
        try:
            while (message := await self.wire.receive()) is not None:
                if not await self._concerns_session(message):
                    await self._room.acquire()
                    self._incoming.put_nowait(message)
        except Exception:
            # A session that nobody hears can't be renewed: better no socket than one with a deaf end.
            await self.wire.close(1011, "")
            raise
        finally:
            self._incoming.put_nowait(None)

    async def _end_in_time(self, lifetime: Lifetime) -> None:
        ending = await lifetime.watch()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):  # a peer that reads nothing gets no notice, but its end
                await self._notify("session.closing", ending.notice())
        await self.wire.close(ending.code, ending.reason)
        self._closed.set()

    async def _concerns_session(self, message: str | bytes) -> bool:
        """Answer a message that is about the session, or that may not be heard now; False for the handler's own."""
        assert self.lifetime is not None
        is_held = self.lifetime.is_held
        asked = _request(message) if is_held or (isinstance(message, str) and "session." in message) else None
        if asked is not None and asked.get("method") == "session.refresh":
            await self._answer(asked, await self._renewed(asked.get("params")))
        elif is_held:
            await self._answer(asked or {"id": None}, _error(TokenRefused("token_expired")))
        elif asked is not None and asked.get("method") == "session.authenticate":
            await self._answer(asked, {"error": _CONFLICT})
        else:
            return False
        return True

    async def _renewed(self, params: object) -> dict[str, Any]:
        assert self.lifetime is not None
        try:
            credential = credential_in_authenticate(params, {"message"})
            if credential is None:
                raise TokenRefused("token_missing")
            await self.lifetime.renew(credential.secret)
        except TokenRefused as refusal:
            return _error(refusal)
        return {"result": self.lifetime.session()}

    async def _authenticated(self) -> AccessClaims | None:
        try:
            async with asyncio.timeout(self._gate.authenticate_within_s):
                message = await self.wire.receive()
        except TimeoutError:
            await self.wire.close(4408, "authentication_timeout")
            return None
        if message is None:
            return None
        asked = _request(message)
        try:
            if asked is None or asked.get("method") != "session.authenticate":
                raise TokenRefused("token_missing")
            credential = credential_in_authenticate(asked.get("params"), self._gate.carriers)
            if credential is None:
                raise TokenRefused("token_missing")
            claims = await self._gate.verify(credential)
        except TokenRefused as refusal:
            await self._answer(asked or {"id": None}, _error(refusal))
            await self.wire.close(4401, refusal.code)
            return None
        await self._answer(asked, {"result": Lifetime(self._gate, claims, self._notify).session()})
        return claims

    async def _notify(self, method: str, params: dict[str, Any]) -> None:
        await self.wire.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def _answer(self, asked: dict[str, Any], outcome: dict[str, Any]) -> None:
        """JSON-RPC 2.0 §4.1: what has no `id` is a notification, which gets no answer."""
        if "id" in asked:
            await self.wire.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **outcome}))


class UnderToken:
    """What a handler's socket says of its token, the same for every framework."""

    _live: LiveSocket

    @property
    def claims(self) -> AccessClaims:
        """Those of the token in force now: a renewal may bring other roles."""
        return self._lifetime.claims

    @property
    def is_held(self) -> bool:
        """Whether nothing may be handed over now."""
        return self._lifetime.is_held

    async def renew(self, token: str) -> AccessClaims:
        """Renew the session with a token that came in a way of your own. Raises: TokenRefused."""
        return await self._lifetime.renew(token)

    @property
    def _lifetime(self) -> Lifetime:
        assert self._live.lifetime is not None, "a handler gets its socket once it is admitted"
        return self._live.lifetime


_CONFLICT: Final = {
    "code": -32009,
    "message": "There is a session already.",
    "data": {"code": "conflict", "status": 409},
}


def _error(refusal: TokenRefused) -> dict[str, Any]:
    return {"error": {"code": -32001, "message": refusal.meaning, "data": refusal_facts(refusal)}}


def _request(message: str | bytes) -> dict[str, Any] | None:
    """A JSON-RPC request, None for any other message."""
    if not isinstance(message, str) or len(message) > SESSION_MESSAGE_CHARS_MAX:
        return None
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("id"), str | int | None):
        return None
    return value
