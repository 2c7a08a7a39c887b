"""Who may come in: a request's credential found, verified, and refused in a form that its sender can read.

Knows no framework and no socket: the adapters hand it headers and a query, and do what it says. Each is a `Gate`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from parley.tokens.bearer import DEFAULT_CARRIERS, Credential, Endpoint, Presented, challenge, find_credential
from parley.tokens.claims import AccessClaims
from parley.tokens.errors import TokenRefused
from parley.tokens.revocation import RevocationSet
from parley.tokens.tickets import TicketStore
from parley.tokens.verifier import Verifier

if TYPE_CHECKING:
    from parley.tokens.adapters.jwks_http import JwksSource
    from parley.tokens.adapters.lifetime import Lifetime

#: What may bring a credential to a socket, where it is on.
UPGRADE_CARRIERS: Final = frozenset({"header", "subprotocol", "ticket", "message", "token_header", "query"})

AUTHENTICATE_WITHIN_S: Final = 5.0
MARGIN_S: Final = 30.0
GRACE_S: Final = 25.0


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """A refusal as an answer over HTTP: RFC 9457's problem details, on 401 with RFC 6750's challenge."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def http_refusal(refusal: TokenRefused) -> HttpRefusal:
    """What to answer a request with whose credential was refused."""
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.meaning,
        "code": refusal.code,
    }
    headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    if refusal.status == 401:
        headers.append(("WWW-Authenticate", challenge(refusal)))
    return HttpRefusal(refusal.status, tuple(headers), json.dumps(problem).encode())


class Gate:
    """The rules at one place where sockets come in; what is live behind it hears of revocations at once."""

    def __init__(
        self,
        verifier: Verifier,
        *,
        subprotocols: Iterable[str] = (),
        carriers: Collection[str] = DEFAULT_CARRIERS,
        tickets: TicketStore | None = None,
        sources: Mapping[str, JwksSource] | None = None,
        authenticate_within_s: float = AUTHENTICATE_WITHIN_S,
        margin_s: float = MARGIN_S,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`subprotocols` are those that your sockets speak: a page's token rides beside one of them, and without any
        none is looked for. `sources` are JWK sets by `iss`. `margin_s` before its token expires a socket is warned, and
        `grace_s` after that it is closed; between them, where the adapter can, nothing is handed over.
        """
        self.verifier = verifier
        self.carriers = frozenset(carriers) - (frozenset() if tickets is not None else {"ticket"})
        self.endpoint = Endpoint(UPGRADE_CARRIERS, tuple(subprotocols), closes_to_refuse=True)
        self.authenticate_within_s = authenticate_within_s
        self.margin_s = margin_s
        self.grace_s = grace_s
        self.clock = clock
        self._tickets = tickets
        self._sources = dict(sources or {})
        self._live: set[Lifetime] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        if isinstance(verifier.revocations, RevocationSet):
            verifier.revocations.watch(self.recheck)

    def find(self, headers: Iterable[tuple[str, str]], query: str, endpoint: Endpoint | None = None) -> Presented:
        """The credential of a request, `query` raw and without its question mark.

        Raises: TokenRefused, to be said by HTTP.
        """
        return find_credential(headers, query=query, endpoint=endpoint or self.endpoint, carriers=self.carriers)

    async def verify(self, credential: Credential) -> AccessClaims:
        """What the credential stands for, if it may be used now.

        Raises: TokenRefused.
        """
        now_s = self.clock()
        if credential.kind == "ticket":
            if self._tickets is None:
                raise TokenRefused("carrier_disabled", carrier="ticket")
            claims = self._tickets.redeem(credential.secret, now_s)
            self.verifier.require_usable(claims, now_s)
            return claims
        if not self._sources:
            return self.verifier.verify(credential.secret, now_s)
        from parley.tokens.adapters.jwks_http import verify_fetching

        return await verify_fetching(self.verifier, credential.secret, now_s, self._sources)

    def recheck(self) -> None:
        """Look at every live socket again: some may have been revoked. May be called from any thread.

        A `RevocationSet` calls it by itself; call it when revocations of your own have changed.
        """
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    @property
    def live(self) -> int:
        """How many sockets are live behind this gate."""
        return len(self._live)

    def _wake_all(self) -> None:
        for lifetime in self._live:
            lifetime.wake()

    def _begin(self, lifetime: Lifetime) -> None:
        self._loop = asyncio.get_running_loop()
        self._live.add(lifetime)

    def _end(self, lifetime: Lifetime) -> None:
        self._live.discard(lifetime)
