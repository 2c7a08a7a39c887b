"""What is asked under `/auth/`: signing in and out, staying signed in, revoking, tickets.

Each handler does what the contract's row says, or raises the Refusal that the application turns into a problem.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from parley.domain.principal import Principal
from parley.service.sessions import Sessions
from parley.service.sign_in import SignedIn, SignIn
from parley.service.tickets import Tickets
from parley.transport import bodies

#: Under this key of the ASGI scope the application leaves the address of whoever asks, as limits count it.
LIMIT_KEY: Final = "parley.limit_key"
_NO_STORE: Final = {"Cache-Control": "no-store"}


class Auth:
    """The answers. `principal` says who asks, or raises the refusal of their credential; `read` gives their body."""

    def __init__(
        self,
        sign_in: SignIn,
        sessions: Sessions,
        tickets: Tickets,
        principal: Callable[[Request], Awaitable[Principal]],
        read: Callable[[Request, Principal], Awaitable[bytes]],
        request_bytes_max: int,
    ) -> None:
        self._sign_in = sign_in
        self._sessions = sessions
        self._tickets = tickets
        self._principal = principal
        self._read = read
        self._request_bytes_max = request_bytes_max

    async def login(self, request: Request) -> Response:
        """`POST /auth/login`."""
        kind = bodies.require_media_type(request, (bodies.JSON, bodies.FORM))
        body = await bodies.read(request, self._request_bytes_max)
        members = bodies.form(body) if kind == bodies.FORM else bodies.json_object(body)
        username, password = bodies.texts(members, ("username", "password"))
        address, agent = request.scope[LIMIT_KEY], request.headers.get("user-agent")
        return _signed_in(await self._sign_in.sign_in(username, password, address, agent))

    async def refresh(self, request: Request) -> Response:
        """`POST /auth/refresh`."""
        kind = bodies.require_media_type(request, (bodies.JSON, bodies.FORM))
        body = await bodies.read(request, self._request_bytes_max)
        members = bodies.form(body) if kind == bodies.FORM else bodies.json_object(body)
        members.pop("grant_type", None)  # what OAuth's own clients send beside it (RFC 6749 §6)
        (token,) = bodies.texts(members, ("refresh_token",))
        return _signed_in(await self._sessions.refresh(token))

    async def logout(self, request: Request) -> Response:
        """`POST /auth/logout`."""
        await self._sessions.sign_out(await self._principal(request))
        return Response(status_code=204, headers=_NO_STORE)

    async def revoke(self, request: Request) -> Response:
        """`POST /auth/revoke` (RFC 7009)."""
        principal = await self._principal(request)
        bodies.require_media_type(request, (bodies.FORM,))
        members = bodies.form(await self._read(request, principal))
        # RFC 7009 §2.1, RFC 6749 §3.2: what else OAuth's clients send, a hint or their own id, is ignored.
        (token,) = bodies.texts({name: members[name] for name in ("token",) if name in members}, ("token",))
        await self._sessions.revoke(token, principal)
        return Response(status_code=200, headers=_NO_STORE)

    async def mint_ticket(self, request: Request) -> Response:
        """`POST /auth/tickets`."""
        principal = await self._principal(request)
        assert principal.claims is not None
        ticket = await self._tickets.mint(principal.claims)
        return _json({"ticket": ticket, "expires_in": int(self._tickets.ttl_s)}, status=201)


def _signed_in(signed_in: SignedIn) -> Response:
    return _json(
        {
            "access_token": signed_in.access_token,
            "token_type": "Bearer",
            "expires_in": signed_in.expires_in,
            "refresh_token": signed_in.refresh_token,
        }
    )


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, headers=_NO_STORE, media_type=bodies.JSON)
